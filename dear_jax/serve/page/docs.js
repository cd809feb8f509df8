/** Shows openapi.json, the description that the server has of itself. */

const described = await (await fetch("openapi.json")).json();
document.querySelector("#about").textContent = described.info.description;

/** An element with a text or children. */
function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** The name of a schema, such as "Photo" or "number or null". */
function nameOf(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(nameOf).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${nameOf(schema.items)}`;
  return schema.type ?? "anything";
}

/** What a request has in its body. */
function bodyOf(route) {
  const content = route.requestBody?.content?.["application/json"];
  return content ? `body: ${nameOf(content.schema)}; ` : "";
}

const routes = document.querySelector("#routes");
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const answers = Object.entries(route.responses)
      .filter(([status]) => status.startsWith("2"))
      .map(([status, answer]) => {
        const schema = answer.content?.["application/json"]?.schema;
        return `${status} ${schema && Object.keys(schema).length ? nameOf(schema) : "file"}`;
      });
    const parameters = (route.parameters ?? [])
      .filter((parameter) => parameter.in !== "path")
      .map((parameter) => `${parameter.in} ${parameter.name}`);
    routes.append(
      element(
        "section",
        element("h3", element("code", `${method.toUpperCase()} ${path}`)),
        element("p", route.description ?? ""),
        element("p", `${bodyOf(route)}${parameters.join(", ")}${parameters.length ? "; " : ""}answer: ${answers.join(", ")}`),
      ),
    );
  }
}

const schemas = document.querySelector("#schemas");
for (const [name, schema] of Object.entries(described.components.schemas)) {
  if (!schema.properties || name.includes("ValidationError")) continue;
  const fields = element("dl");
  for (const [field, type] of Object.entries(schema.properties)) {
    fields.append(element("dt", element("code", field)), element("dd", nameOf(type)));
  }
  const text = (schema.description ?? "").split("\n\n")[0];
  schemas.append(element("section", element("h3", element("code", name)), element("p", text), fields));
}
