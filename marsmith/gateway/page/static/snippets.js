// The same request as curl and Python send it.

/** Return the curl command of a request. */
export function curl(request, withKey) {
  const parts = ["curl", "--fail-with-body"];
  if (request.certificate) parts.push(`--cacert ${quoted(request.certificate)}`);
  if (withKey) parts.push('-H "Authorization: Bearer $KEY"');
  for (const [name, value] of headers(request)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  parts.push(`--data-binary ${quoted(`@${request.name}`)}`);
  if (request.ending) parts.push(`-o answer.${request.ending}`);
  parts.push(quoted(address(request)));
  return parts.join(" \\\n  ").replace("curl \\\n  --fail", "curl --fail");
}

/** Return a Python program of a request, for the standard library. */
export function python(request, withKey) {
  const lines = headers(request).map(([name, value]) => `${text(name)}: ${text(value)}`);
  if (withKey) lines.push('"Authorization": f"Bearer {os.environ[\'KEY\']}"');
  const trust = request.certificate;
  const shown = request.ending
    ? `    Path("answer.${request.ending}").write_bytes(answer.read())`
    : "    print(answer.read().decode())";
  return [
    ...(withKey ? ["import os"] : []),
    ...(trust ? ["import ssl"] : []),
    "from pathlib import Path",
    "from urllib.request import Request, urlopen",
    "",
    "request = Request(",
    `    ${text(address(request))},`,
    `    data=Path(${text(request.name)}).read_bytes(),`,
    "    headers={",
    ...lines.map((line) => `        ${line},`),
    "    },",
    ")",
    ...(trust ? [`context = ssl.create_default_context(cafile=${text(trust)})`] : []),
    `with urlopen(request${trust ? ", context=context" : ""}) as answer:`,
    shown,
  ].join("\n");
}

const headers = ({ type, accept, headers: more = {} }) => [
  ["Content-Type", type], ["Accept", accept], ...Object.entries(more)];
const address = (request) => new URL(request.path, document.baseURI).href;
const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`; // as a shell reads it
const text = (value) => JSON.stringify(value);
