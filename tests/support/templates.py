"""Chat templates in the manner of published models."""

CHATML = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|turn|>system\\nYou are helpful<|end|>\\n' }}{% endif %}\
{{'<|turn|>' + message['role'] + '\\n' + message['content'] + '<|end|>' + '\\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% endif %}"""

LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}\
{% else %}{% set loop_messages = messages %}{% set system = false %}{% endif %}
{% for message in loop_messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles must alternate') }}
    {% endif %}
    {% if loop.index0 == 0 and system != false %}
        {% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {% else %}
        {% set content = message['content'] %}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
    {% elif message['role'] == 'assistant' %}
        {{- ' '  + content.strip() + ' ' + eos_token -}}
    {% endif %}
{% endfor %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if not tools is defined %}{% set tools = none %}{% endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{% set date_string = strftime_now("%d %b %Y") %}\
{% else %}{% set date_string = "26 Jul 2024" %}{% endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}{% set system_message = "" %}{% endif %}
{{- "<|turn|>system\\n\\nToday: " + date_string + "\\n\\n" + system_message + "<|end|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|turn|>' + message['role'] + '\\n\\n'+ message['content'] | trim + '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|turn|>assistant\\n\\n' }}{%- endif %}"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}\
{% set role = message['role'] %}{% endif %}{{ '<|turn|>' + role + '\\n' + message['content'] | trim + '<|end|>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{'<|turn|>model\\n'}}{% endif %}"""

# Macros, namespaces, JSON, loop controls, ~ and a block of its own.
FEATURES = """\
{%- macro say(role, text) -%}<|turn|>{{ role }} {{ {'text': text, 'é': [1, none]} | tojson }}{%- endmacro -%}
{%- set ns = namespace(count=0) -%}
{%- for message in messages -%}
    {%- set ns.count = ns.count + 1 -%}
    {%- if message.role == 'system' -%}{{ message.content }}{%- continue -%}{%- endif -%}
    {{ say(message['role'], message.content) }}
    {%- generation %}#{{ ns.count ~ '/' ~ loop.length }}{% endgeneration -%}
    {%- if loop.index > 5 -%}{%- break -%}{%- endif -%}
{%- endfor -%}
{{ messages | map(attribute='role') | join(',') }}{{ '%s %d' | format('a', 3) }}{{ 'x' * 3 }}"""

ALL = {
    "chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "zephyr": ZEPHYR, "gemma": GEMMA, "features": FEATURES
}  # fmt: skip
