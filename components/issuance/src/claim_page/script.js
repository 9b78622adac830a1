"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const ticket = location.hash.slice(1);
  // The ticket leaves the address bar and the history at once; it lives in this page alone.
  history.replaceState(null, "", location.pathname);

  const say = (text, bad) => {
    at("message").textContent = text;
    at("message").className = bad ? "bad" : "";
  };

  // Where nothing is left to take, nothing invites to take it.
  const refuse = (text) => {
    say(text, true);
    at("lead").hidden = true;
    at("claim").hidden = true;
  };

  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  // The claim's id is the first 16 bytes of the ticket's SHA-256, in base62.
  const claimId = async () => {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket)));
    let number = digest.slice(0, 16).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    let text = "";
    for (let i = 0; i < 22; i += 1) {
      text = DIGITS[Number(number % 62n)] + text;
      number /= 62n;
    }
    return "clm_" + text;
  };

  const REFUSED = {
    "claim-taken": "This link has been used before. If that was not you, tell whoever sent it at once: the key must be revoked. If you lost the key, ask for a new link.",
    "claim-gone": "This link is over: it was not used within 15 minutes, or a newer one took its place. Ask whoever sent it for a new one.",
    "not-found": "This link is not known here. Ask whoever sent it for a new one.",
    "invalid-field": "This link is not whole: part of it was cut off or mistyped. Copy it again, to its very end.",
  };
  const STATES = { taken: "claim-taken", expired: "claim-gone", void: "claim-gone" };

  const show = (claim) => {
    at("application").textContent = claim.application.name;
    at("key").textContent = claim.key.name;
    at("environment").textContent = claim.key.environment;
    at("expires").textContent = new Date(claim.expires_at).toLocaleString();
    at("facts").hidden = false;
  };

  const look = async () => {
    if (!/^kwc_(live|test)_[0-9A-Za-z]{73}$/.test(ticket)) {
      refuse(ticket ? REFUSED["invalid-field"] : "There is no ticket in this link. Open the link exactly as it was sent to you.");
      return;
    }
    // Without a secure context the browser cannot compute digests: then the page claims without telling for whom.
    if (globalThis.crypto && crypto.subtle) {
      const answer = await fetch("v1/claims/" + (await claimId()));
      const body = await answer.json();
      if (answer.ok) {
        show(body);
      }
      // Where the server fails for a moment, the click may still succeed.
      const over = answer.ok ? STATES[body.state] : body.code;
      if (over && answer.status < 500) {
        refuse(REFUSED[over] || body.detail);
        return;
      }
    }
    at("claim").disabled = false;
  };

  const once = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const post = () => fetch("v1/claims", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": once },
    body: JSON.stringify({ ticket }),
  });

  // A lost answer can be had again with the same Idempotency-Key, as soon as the request that it was the answer of has ended.
  const told = async () => {
    for (let left = 15; ; left -= 1) {
      const answer = await post().catch(post);
      const body = await answer.json();
      if (body.code !== "idempotency-in-flight" || left === 0) {
        return [answer, body];
      }
      await new Promise((done) => setTimeout(done, 1000));
    }
  };

  const take = async () => {
    at("claim").disabled = true;
    say("Making the key…");
    const [answer, body] = await told();
    // While issuing is frozen the link stays good.
    if (!answer.ok && answer.status < 500 && body.code !== "issuing-frozen") {
      refuse(REFUSED[body.code] || body.detail);
      return;
    }
    if (!answer.ok) {
      say(body.detail, true);
      at("claim").disabled = false;
      return;
    }
    say("");
    at("lead").hidden = true;
    at("claim").hidden = true;
    at("token").textContent = body.token;
    at("renewal-token").textContent = body.renewal_token || "";
    at("renewal").hidden = !body.renewal_token;
    at("result").hidden = false;
    at("token").focus();
  };

  const failed = () => {
    say("Keyward cannot be reached. Check your connection and try again.", true);
    at("claim").disabled = false;
  };

  at("claim").addEventListener("click", () => take().catch(failed));
  const copies = (button, shown, said) => at(button).addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(at(shown).textContent);
      at(said).textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(at(shown));
      at(said).textContent = "Selected: press Ctrl+C";
    }
  });
  copies("copy", "token", "copied");
  copies("copy-renewal", "renewal-token", "copied-renewal");
  look().catch(failed);
})();
