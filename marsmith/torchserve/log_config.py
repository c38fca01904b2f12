"""The log4j configuration of TorchServe's front end, as text; no IO."""

from __future__ import annotations

from typing import Literal
from xml.sax.saxutils import escape

LogFormat = Literal["text", "json"]

# TorchServe's own configuration writes several lines per request into five files.
_CONFIG = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="server" fileName="{folder}/server.log"
                 filePattern="{folder}/server.%i.log" filePermissions="rw-------">
      <PatternLayout {server}/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <RollingFile name="workers" fileName="{folder}/workers.log"
                 filePattern="{folder}/workers.%i.log" filePermissions="rw-------">
      <RegexFilter regex="Backend received inference at: .*" onMatch="DENY" onMismatch="ACCEPT"/>
      <PatternLayout {workers}/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="MODEL_LOG" level="info" additivity="false"><AppenderRef ref="workers"/></Logger>
    <Root level="warn"><AppenderRef ref="server"/></Root>
  </Loggers>
</Configuration>
"""
_TEXT = {
    "server": "%d{ISO8601} %t %p %c{1} %m%n%notEmpty{%ex{short}%n}",
    "workers": "%d{ISO8601} %t %m%n",
}
# log4j's own JSON layouts need Jackson, which TorchServe's jar does not contain.
_FIELDS = {
    "time": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}",
    "level": "%p",
    "thread": "%enc{%t}{JSON}",
    "logger": "%enc{%c{1}}{JSON}",
    "message": "%enc{%m}{JSON}",
    "exception": "%enc{%ex{short}}{JSON}",
}
_JSON = "{" + ",".join(f'"{name}":"{pattern}"' for name, pattern in _FIELDS.items()) + "}%n"


def format_log_config(folder: str, log_format: LogFormat) -> str:
    """Return a log4j2.xml that writes server.log and workers.log into `folder`, up to 40 MB each.

    server.log holds the front end's warnings and errors, workers.log the output of workers.
    """
    patterns = _TEXT if log_format == "text" else {"server": _JSON, "workers": _JSON}
    layouts = {
        name: f'pattern="{_attribute(pattern)}" alwaysWriteExceptions="false" charset="UTF-8"'
        for name, pattern in patterns.items()
    }
    # log4j would expand ${…} in the path.
    return _CONFIG.format(folder=_attribute(folder).replace("$", "$$"), **layouts)


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
