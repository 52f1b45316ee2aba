{#-
    A table expression of the team that pays for a resource on a day, by the company's owners.csv. What matches first
    decides: the resource's id, the Kubernetes namespace, the sub-account, a tag that owners.csv names, and last the
    bill's own tag "team", through the team aliases. Of two rows that match on a day the later valid_from decides.

    relation   distinct rows of usage_date, resource_id, namespace, sub_account_id, tags

    find_teams('keys')  ->  the five columns and team, for the rows that have a team
-#}
{% macro find_teams(relation) -%}
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
            select {{ key }}, owners.team, {{ loop.index }} as precedence, owners.valid_from
            from keys
            inner join owners
                on
                    owners.match_on = '{{ match_on }}'
                    and keys.{{ match_on }} = owners.match_value
                    and keys.usage_date >= owners.valid_from
                    and keys.usage_date < owners.valid_to
            union all
            {% endfor -%}
            select {{ key }}, owners.team, 4 as precedence, owners.valid_from
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
                5 as precedence,
                aliases.valid_from
            from keys
            left join aliases
                on
                    {{ json_value('keys.tags', "'team'") }} = aliases.alias
                    and keys.usage_date >= aliases.valid_from
                    and keys.usage_date < aliases.valid_to
            where {{ json_value('keys.tags', "'team'") }} is not null
        ),

        ranked as (
            select
                *,
                row_number() over (
                    partition by usage_date, resource_id, namespace, sub_account_id, tags
                    order by precedence, valid_from desc nulls last, team
                ) as claim_rank
            from claims
        )

        select usage_date, resource_id, namespace, sub_account_id, tags, team
        from ranked
        where claim_rank = 1
    )
{%- endmacro %}
