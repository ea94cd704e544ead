// Programs that the page holds as text, as addresses that can be loaded. The page and its workers each make their own: an
// address made by a page from a file is closed to its workers.

export function makeUrl(content) {
  return URL.createObjectURL(new Blob([content], { type: "text/javascript" }));
}

/** Load LiteRT.js, whose `core` asks for its `helper` by name. */
export async function loadRuntime({ core, helper }) {
  return import(makeUrl(core.replace('"@litertjs/wasm-utils"', JSON.stringify(makeUrl(helper)))));
}
