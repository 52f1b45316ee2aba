{#-
    What of a URL names the server: without the scheme, the path and the capitals; with the port, as two servers may
    share a machine. server_host leaves the port out too.

    server_address("'http://ip-10-20-1-11:8000/v1/'")  ->  'ip-10-20-1-11:8000'
-#}
{% macro server_address(url) -%}
    nullif({{ first_match('lower(' ~ url ~ ')', "'^(?:[a-z]+://)?([^/]+)'") }}, '')
{%- endmacro %}


{% macro server_host(url) -%}
    nullif({{ first_match('lower(' ~ url ~ ')', "'^(?:[a-z]+://)?([^/:]+)'") }}, '')
{%- endmacro %}
