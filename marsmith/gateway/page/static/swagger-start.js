// Starts Swagger UI over this gateway's own document. A script of its own, since pages of the
// gateway may hold none.
const key = sessionStorage.getItem("marsmith-key"); // typed on the page, in this tab

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  docExpansion: "full",
  tryItOutEnabled: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
  requestInterceptor(request) {
    if (key && !request.headers.Authorization) request.headers["X-API-Key"] = key;
    return request;
  },
});
