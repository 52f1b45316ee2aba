{#-
    A table expression of the team that pays for a resource on a day, and of the service that it runs for it, by the
    company's owners.csv. What matches first decides both: the resource's id, the Kubernetes namespace, the sub-account,
    a tag that owners.csv names, and last the bill's own tags "team", through the team aliases, and "service". Of two
    rows that match on a day the later valid_from decides.

    relation   distinct rows of usage_date, resource_id, namespace, sub_account_id, tags

    find_owners('keys')  ->  the five columns, team and service, for the rows that something says one of the two for
-#}
{% macro find_owners(relation) -%}
    {%- set key = 'keys.usage_date, keys.resource_id, keys.namespace, keys.sub_account_id, keys.tags' -%}
    (
        with keys as (
            select usage_date, resource_id, namespace, sub_account_id, tags from {{ relation }}
        ),

        owners as (
            select * from {{ ref('stg_company_owners') }}
        ),

        aliases as (
            select * from {{ ref('stg_company_aliases') }}
            where kind = 'team'
        ),

        claims as (
            {% for match_on in ['resource_id', 'namespace', 'sub_account_id'] -%}
            select {{ key }}, owners.team, owners.service, {{ loop.index }} as precedence, owners.valid_from
            from keys
            inner join owners
                on
                    owners.match_on = '{{ match_on }}'
                    and keys.{{ match_on }} = owners.match_value
                    and keys.usage_date >= owners.valid_from
                    and keys.usage_date < owners.valid_to
            union all
            {% endfor -%}
            select {{ key }}, owners.team, owners.service, 4 as precedence, owners.valid_from
            from keys
            inner join owners
                on
                    owners.match_on like 'tag:%'
                    and {{ json_value('keys.tags', 'substr(owners.match_on, 5)') }} = owners.match_value
                    and keys.usage_date >= owners.valid_from
                    and keys.usage_date < owners.valid_to
            union all
            select
                {{ key }},
                coalesce(aliases.name, {{ json_value('keys.tags', "'team'") }}) as team,
                {{ json_value('keys.tags', "'service'") }} as service,
                5 as precedence,
                aliases.valid_from
            from keys
            left join aliases
                on
                    {{ json_value('keys.tags', "'team'") }} = aliases.alias
                    and keys.usage_date >= aliases.valid_from
                    and keys.usage_date < aliases.valid_to
            where coalesce({{ json_value('keys.tags', "'team'") }}, {{ json_value('keys.tags', "'service'") }}) is not null
        ),

        ranked as (
            select
                *,
                row_number() over (
                    partition by usage_date, resource_id, namespace, sub_account_id, tags
                    order by precedence, valid_from desc nulls last, team nulls last, service nulls last
                ) as claim_rank
            from claims
        )

        select usage_date, resource_id, namespace, sub_account_id, tags, team, service
        from ranked
        where claim_rank = 1
    )
{%- endmacro %}
