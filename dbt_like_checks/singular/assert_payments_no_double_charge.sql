{{ config(severity='warn') }}
-- The same account pays the same merchant the same amount at the same instant once: twice is a gateway's retry.
select payment_id
from {{ ref('payments') }}
where original_payment_id is null
qualify count(*) over (partition by account_id, merchant_id, amount, event_timestamp) > 1
