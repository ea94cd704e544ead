// Keeps the page, so that it opens without a network after the first visit. A new export has another name, and
// replaces the old one.

const NAME = "clownfish-{{ version }}";
const FILES = ["./", "index.html", "manifest.webmanifest", "icon.svg", "icon.png"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const scope = new URL(self.registration.scope).pathname;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name.startsWith("clownfish-") && name !== NAME).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((found) => found ?? fetch(event.request)));
});
