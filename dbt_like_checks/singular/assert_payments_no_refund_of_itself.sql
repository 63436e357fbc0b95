-- A refund names the payment it gives back, never itself.
select payment_id
from {{ ref('payments') }}
where original_payment_id = payment_id
