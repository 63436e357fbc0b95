-- Features of an account, one row a payment of `batch`; `history` holds the clean payments of all other batches.
--
-- Point in time: a row's aggregates include its own payment, so they are known one microsecond AFTER it. A join at a
-- payment's own time therefore finds only what earlier payments left behind: exactly what an online store that is fed
-- payment by payment answers at that moment. Training and serving see the same values, and no payment sees itself.
--
-- Frames are RANGE, not ROWS: payments of the same instant get the same values, whatever their order in the file.
-- The longest window bounds what is read of history, so the cost follows the batch and not the age of the system.
WITH bounds AS (
    SELECT min(event_timestamp) - INTERVAL 30 DAY AS since, max(event_timestamp) AS until FROM batch
),
payments AS (
    SELECT account_id, event_timestamp, amount, merchant_id, TRUE AS in_batch FROM batch
    UNION ALL
    SELECT account_id, event_timestamp, amount, merchant_id, FALSE
    FROM history
    WHERE event_timestamp BETWEEN (SELECT since FROM bounds) AND (SELECT until FROM bounds)
        AND account_id IN (SELECT account_id FROM batch)
),
windowed AS (
    SELECT
        *,
        count(*) OVER hour AS payments_1h,
        avg(amount) OVER month AS amount_mean_30d,
        max(amount) OVER quarter_day AS amount_max_6h,
        count(DISTINCT merchant_id) OVER quarter_day AS distinct_merchants_6h,
        max(event_timestamp) OVER earlier AS previous_timestamp
    FROM payments
    WINDOW
        hour AS (PARTITION BY account_id ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
        quarter_day AS (PARTITION BY account_id ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 6 HOUR PRECEDING AND CURRENT ROW),
        month AS (PARTITION BY account_id ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW),
        earlier AS (PARTITION BY account_id ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING)
)
SELECT
    account_id,
    event_timestamp + INTERVAL 1 MICROSECOND AS event_timestamp,
    payments_1h,
    amount_mean_30d,
    amount_max_6h,
    distinct_merchants_6h,
    (epoch_us(event_timestamp) - epoch_us(previous_timestamp)) / 1e6 AS seconds_since_previous
FROM windowed
WHERE in_batch
