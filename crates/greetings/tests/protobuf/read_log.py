"""Reads a log from stdin, and fails at the first line that Google's published types do not take.

A line is one JSON object. Its severity is a name of google.logging.type.LogSeverity, its httpRequest a
google.logging.type.HttpRequest, its time a google.protobuf.Timestamp.
"""

import json
import re
import sys

from google.logging.type.http_request_pb2 import HttpRequest
from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf import json_format, timestamp_pb2

SPECIAL = "logging.googleapis.com/"
REPORT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"


def need(holds, what):
    if not holds:
        raise ValueError(what)


def check(line):
    entry = json.loads(line)
    LogSeverity.Value(entry.pop("severity"))
    timestamp_pb2.Timestamp().FromJsonString(entry.pop("time"))
    need(isinstance(entry.pop("message"), str), "message is no text")
    request = entry.pop("httpRequest", None)
    if request is not None:
        json_format.ParseDict(request, HttpRequest())
    trace = entry.pop(SPECIAL + "trace", None)
    need(trace is None or re.fullmatch(r"projects/[^/]+/traces/[0-9a-f]{32}", trace), "trace")
    span = entry.pop(SPECIAL + "spanId", None)
    need(span is None or re.fullmatch(r"[0-9a-f]{16}", span), "spanId")
    need(entry.pop(SPECIAL + "trace_sampled", None) in (None, True, False), "trace_sampled")
    labels = entry.pop(SPECIAL + "labels", {})
    need(all(isinstance(text, str) for pair in labels.items() for text in pair), "labels")
    source = entry.pop(SPECIAL + "sourceLocation")
    need(set(source) == {"file", "line", "function"} and source["line"].isdigit(), "sourceLocation")
    if "@type" in entry:
        need(entry.pop("@type") == REPORT, "@type")
        need(set(entry.pop("serviceContext")) == {"service", "version"}, "serviceContext")
        location = entry.pop("context").pop("reportLocation")
        need(set(location) == {"filePath", "lineNumber", "functionName"}, "reportLocation")
        need(isinstance(location["lineNumber"], int), "lineNumber")
    need(set(entry) <= {"fields"}, f"{set(entry)} is nothing that Google's agents know")


count = 0
for number, line in enumerate(sys.stdin, 1):
    try:
        check(line)
    except Exception as error:
        sys.exit(f"line {number}: {error}: {line}")
    count += 1
print(count)
