// The browser of the API's own description: it reads openapi.json beside this page, and asks no other host.

globalThis.SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("docs"),
  validatorUrl: null, // the default sends the document to a validator elsewhere
  deepLinking: true,
  displayRequestDuration: true,
});
