{%- from 'money.sql' import in_month with context -%}
{#- An hour counts where it starts: in a zone with half hours, 18:00 UTC counts as 23. -#}
with
{%- if zones %}
zones (region, time_zone) as (
    values
    {%- for region, zone in zones.items() %}
    ('{{ region }}', '{{ zone }}'){{ ',' if not loop.last }}
    {%- endfor %}
),
{%- endif %}
hours as (
    select
        coalesce(hourly.region, 'no region') as site,
        {%- if zones %}
        coalesce(zones.time_zone, 'UTC') as time_zone,
        {%- else %}
        'UTC' as time_zone,
        {%- endif %}
        hourly.hour_at,
        hourly.active_seconds,
        hourly.billed_seconds - hourly.unknown_seconds as known_seconds
    from {{ mart('capacity.gpu_utilisation_hourly') }} as hourly
    {%- if zones %}
    left join zones on hourly.region = zones.region
    {%- endif %}
    where {{ in_month('hourly.usage_date') }}
)

select
    site,
    time_zone,
    cast(date_part('hour', timezone(time_zone, timezone('UTC', hour_at))) as integer) as local_hour,
    sum(active_seconds) / 3600 as active_gpu_hours,
    sum(known_seconds) / 3600 as known_gpu_hours,
    sum(active_seconds) / nullif(sum(known_seconds), 0) as utilisation_ratio
from hours
group by all
having sum(known_seconds) > 0
order by site, local_hour
