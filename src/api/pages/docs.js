// Lists the operations of /api/openapi.json and lets the reader try them with a token, which stays in this tab.
"use strict";

const at = (id) => document.getElementById(id);

async function start() {
  at("login").addEventListener("submit", (submitted) => submitted.preventDefault());
  at("token").value = sessionStorage.getItem("token") || "";
  at("token").addEventListener("change", () => sessionStorage.setItem("token", at("token").value.trim()));
  const [api, errors] = await Promise.all(
    ["/api/openapi.json", "/pages/errors.json"].map((path) => fetch(path).then((response) => response.json())),
  );
  at("description").textContent = api.info.description;
  showOperations(api);
  showErrors(errors);
  showSchemas(api);
  // The fragment of a problem's `type` leads here, but only now is there something to scroll to.
  const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) wanted.scrollIntoView();
}

function showOperations(api) {
  for (const tag of api.tags) {
    const heading = element("h2", tag.name);
    at("operations").append(heading, element("p", tag.description));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if ((operation.tags || []).includes(tag.name)) {
          at("operations").append(showOperation(api, method, path, operation));
        }
      }
    }
  }
}

function showOperation(api, method, path, operation) {
  const box = document.createElement("details");
  box.id = operation.operationId;
  const summary = document.createElement("summary");
  summary.append(
    element("span", method.toUpperCase(), `badge ${method}`),
    " ",
    element("code", path),
    " – ",
    ...rich(operation.summary),
  );
  box.append(summary);
  if (operation.description) {
    const description = document.createElement("p");
    description.append(...rich(operation.description));
    box.append(description);
  }
  const scopes = (operation.security || []).flatMap((one) => one.bearer || []);
  if (scopes.length) box.append(element("p", `Scope: ${scopes.join(", ")}`));
  box.append(tryForm(api, method, path, operation), responses(api, operation));
  return box;
}

function tryForm(api, method, path, operation) {
  const form = document.createElement("form");
  const inputs = new Map();
  for (const parameter of operation.parameters || []) {
    const label = element("label", `${parameter.name}${parameter.required ? "" : " (optional)"}`);
    const input = document.createElement("input");
    input.value = parameter.in === "path" ? parameter.example || "" : "";
    input.title = parameter.description || "";
    label.append(input);
    form.append(label);
    inputs.set(parameter, input);
  }
  let body = null;
  if (operation.requestBody) {
    const media = operation.requestBody.content["application/json"];
    body = document.createElement("textarea");
    body.value = JSON.stringify(media.example || sample(api, media.schema), null, 2);
    const label = element("label", "Body");
    label.className = "full";
    label.append(body);
    form.append(label);
  }
  const button = element("button", "Try");
  const output = document.createElement("pre");
  output.hidden = true;
  output.setAttribute("role", "status");
  form.append(button);
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    output.hidden = false;
    output.textContent = "…";
    output.textContent = await attempt(method, path, inputs, body);
  });
  const box = document.createElement("div");
  box.append(form, output);
  return box;
}

async function attempt(method, path, inputs, body) {
  const headers = {};
  const token = at("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const query = new URLSearchParams();
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  const address = query.size ? `${path}?${query}` : path;
  try {
    const response = await fetch(address, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
    const head = `${response.status} ${response.statusText}\n\n`;
    const kind = response.headers.get("content-type") || "";
    if (kind.startsWith("text/event-stream")) {
      response.body.cancel();
      return `${head}The stream is open. The live page shows what comes.`;
    }
    const text = await response.text();
    return head + (kind.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text);
  } catch (error) {
    return String(error);
  }
}

function responses(api, operation) {
  const list = document.createElement("ul");
  for (const [status, response] of Object.entries(operation.responses)) {
    const meant = resolve(api, response);
    list.append(element("li", `${status}: ${meant.description}`));
  }
  return list;
}

function showErrors(errors) {
  const rows = errors.map((error) => {
    const row = document.createElement("tr");
    row.id = error.code;
    const code = document.createElement("td");
    code.append(element("code", error.code));
    row.append(code, element("td", error.status), element("td", error.title), element("td", error.remedy, "wide"));
    return row;
  });
  document.querySelector("#errors tbody").append(...rows);
}

function showSchemas(api) {
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const box = document.createElement("details");
    box.append(element("summary", name), element("pre", JSON.stringify(schema, null, 2)));
    at("schemas").append(box);
  }
}

/** The required fields of a schema, empty: something to begin with. */
function sample(api, schema) {
  const meant = resolve(api, schema);
  const filled = {};
  for (const name of meant.required || []) {
    const field = resolve(api, meant.properties[name]);
    filled[name] = field.example !== undefined ? field.example : field.type === "object" ? {} : "";
  }
  return filled;
}

function resolve(api, value) {
  if (!value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((part, name) => part[name], api);
}

/** Text whose parts between back-quotes are code. */
function rich(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", part) : part));
}

function element(name, text, classes) {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

start();
