"use strict";
// Adds to pages that work without it: copying, lists that follow what happens, buttons that are pressed once.
(() => {
  const LIVE_EVERY_MS = 5000;

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", () => {
      // After the browser has read the form: a disabled button would be left out of it.
      setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; }, 0);
    });
  }
  // Work in steps that was asked for goes on; whoever wants it to stop leaves the page.
  const next = document.querySelector("[data-go-on] form");
  if (next) setTimeout(() => next.requestSubmit(), 400);

  // Whoever comes back by the browser's way back may press again.
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const button of document.querySelectorAll("form button:disabled")) button.disabled = false;
  });

  for (const place of document.querySelectorAll("[data-live]")) {
    const look = async () => {
      // Nobody looks, or somebody is in the middle of it.
      if (document.hidden || place.contains(document.activeElement)) return;
      const answer = await fetch(place.dataset.live, { redirect: "error" }).catch(() => null);
      if (answer && answer.status === 401) { clearInterval(timer); return; }
      if (!answer || !answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...fresh.body.childNodes);
    };
    const timer = setInterval(look, LIVE_EVERY_MS);
  }
})();

// The check of an inclusion proof, in this browser: RFC 9162 section 2.1.3.2 over SHA-256, as RFC 6962 has its trees.
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const hash = async (prefix, ...parts) => {
    const all = new Uint8Array(1 + parts.reduce((sum, part) => sum + part.length, 0));
    all[0] = prefix;
    let at = 1;
    for (const part of parts) { all.set(part, at); at += part.length; }
    return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  };
  const isSame = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

  const leadsToRoot = async ({ entry, index, size, root, hashes }) => {
    let node = await hash(0, bytes(entry));
    let [fn, sn] = [BigInt(index), BigInt(size) - 1n];
    if (fn > sn) return false;
    for (const sibling of hashes.split(" ").filter(Boolean).map(bytes)) {
      if (sn === 0n) return false;
      if ((fn & 1n) === 1n || fn === sn) {
        node = await hash(1, sibling, node);
        while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
      } else {
        node = await hash(1, node, sibling);
      }
      fn >>= 1n;
      sn >>= 1n;
    }
    return sn === 0n && isSame(node, bytes(root));
  };

  for (const proof of document.querySelectorAll("[data-proof]")) {
    const button = proof.querySelector("[data-check]");
    const told = proof.querySelector("[data-told]");
    button.hidden = !(globalThis.crypto && crypto.subtle);
    button.addEventListener("click", async () => {
      told.textContent = await leadsToRoot(proof.dataset)
        ? "Checked: the sealed event leads to the root."
        : "It does not lead to the root. Run keyward audit verify, and keep what it says.";
    });
  }
})();
