// Starts Swagger UI over this gateway's own document. A script of its own, since pages of the
// gateway may hold none.
const key = sessionStorage.getItem("marsmith-key"); // typed on the page, in this tab

const headers = key ? { Authorization: `Bearer ${key}` } : {};

fetch("openapi.json", { headers }).then((answer) => {
  if (answer.status === 401 || answer.status === 403) askForKey();
  else start();
}, start);

/** Lead to the page, where a key can be typed. */
function askForKey() {
  const link = Object.assign(document.createElement("a"), { href: "./", textContent: "the page" });
  const text = document.createElement("p");
  text.className = "key-needed";
  text.append("This gateway demands a key. Type it on ", link, ", and come back with “API” there.");
  document.getElementById("swagger-ui").replaceChildren(text);
}

function start() {
  window.SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    docExpansion: "full",
    tryItOutEnabled: true,
    defaultModelsExpandDepth: -1,
    validatorUrl: null,
    requestInterceptor(request) {
      if (!request.headers.Authorization) Object.assign(request.headers, headers);
      return request;
    },
  });
}
