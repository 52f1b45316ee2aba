{#- What samples tell of a GPU in an hour and adds up over namespaces and slices: time and energy. -#}
{% macro sample_sums() -%}
    {{- return([
        'present_microseconds', 'active_microseconds', 'loaded_idle_microseconds', 'unallocated_microseconds',
        'engine_microseconds', 'sm_active_microseconds', 'sm_sampled_microseconds', 'tensor_active_microseconds',
        'tensor_sampled_microseconds', 'dram_active_microseconds', 'dram_sampled_microseconds',
        'power_sampled_microseconds', 'energy_microwatt_hours', 'active_energy_microwatt_hours',
    ]) -}}
{%- endmacro %}
