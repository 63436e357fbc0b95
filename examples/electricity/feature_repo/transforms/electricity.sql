-- Features of a region, one row a half hour of `batch`; `history` holds the clean rows of all other batches.
--
-- Point in time: a row's values include its own half hour, so they are known one microsecond AFTER it, and a join at
-- a row's own time finds the half hours before it only. The label (price_up) is not used at all.
WITH bounds AS (
    SELECT min(event_timestamp) - INTERVAL 7 DAY AS since, max(event_timestamp) AS until FROM batch
),
half_hours AS (
    SELECT region, event_timestamp, nswprice, nswdemand, TRUE AS in_batch FROM batch
    UNION ALL
    SELECT region, event_timestamp, nswprice, nswdemand, FALSE
    FROM history
    WHERE event_timestamp BETWEEN (SELECT since FROM bounds) AND (SELECT until FROM bounds)
),
windowed AS (
    SELECT
        *,
        avg(nswprice) OVER instant AS nswprice_last,
        avg(nswprice) OVER day AS nswprice_mean_24h,
        avg(nswprice) OVER week AS nswprice_mean_7d,
        avg(nswdemand) OVER instant AS nswdemand_last,
        avg(nswdemand) OVER day AS nswdemand_mean_24h,
        avg(nswdemand) OVER week AS nswdemand_mean_7d
    FROM half_hours
    WINDOW
        instant AS (PARTITION BY region, event_timestamp),
        -- 47 earlier half hours and this one; 335 and this one.
        day AS (PARTITION BY region ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 1410 MINUTE PRECEDING AND CURRENT ROW),
        week AS (PARTITION BY region ORDER BY event_timestamp
            RANGE BETWEEN INTERVAL 10050 MINUTE PRECEDING AND CURRENT ROW)
)
SELECT
    region,
    event_timestamp + INTERVAL 1 MICROSECOND AS event_timestamp,
    nswprice_last,
    nswprice_mean_24h,
    nswprice_mean_7d,
    nswdemand_last,
    nswdemand_mean_24h,
    nswdemand_mean_7d
FROM windowed
WHERE in_batch
