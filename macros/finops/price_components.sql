{#- The components that a price book may price, each with the column of an attempt that counts its units. -#}
{% macro price_components() -%}
    {{- return({
        'input': 'uncached_input_tokens',
        'cache_read': 'cache_read_tokens',
        'cache_write_5m': 'cache_write_5m_tokens',
        'cache_write_1h': 'cache_write_1h_tokens',
        'output': 'output_text_tokens',
        'reasoning': 'reasoning_tokens',
        'audio_input': 'audio_input_tokens',
        'audio_output': 'audio_output_tokens',
        'image_input': 'image_input_tokens',
        'image_output': 'image_output_tokens',
        'image': 'image_count',
        'web_search': 'web_search_count',
        'call': 'request_count',
    }) -}}
{%- endmacro %}
