// The fields of a model whose samples are forms.

import { make } from "./dom.js";
import { Problem } from "./asking.js";
import { readable } from "./pictures.js";

/** Return the inputs of a form's fields, with the texts of the sample. */
export function inputsOf(fields) {
  return fields.map(({ name, is_file: isFile, text }) => {
    const input = make("input", isFile ? { type: "file", name } : { type: "text", name, value: text });
    return make("label", { className: "field" }, make("span", { textContent: name }), input);
  });
}

/** Return a form as it is sent: {blob, type, name}; throw a Problem where a file is missing. */
export async function formToSend(inputs) {
  const form = new FormData();
  for (const input of inputs) {
    if (input.type === "file") {
      const [file] = input.files;
      if (!file) throw new Problem(`No file is chosen for ${input.name}.`, { hint: "Choose one." });
      await readable(file, file.name);
    }
    form.append(input.name, input.type === "file" ? input.files[0] : input.value);
  }
  const body = new Response(form); // it knows how a browser writes forms
  const type = body.headers.get("Content-Type");
  return { blob: await body.blob(), type, name: "request.form" };
}
