// Shows what the WebAssembly beside it computes. It decides nothing: whether something is proved comes from there, and
// every text of the bundle goes into the page as text, never as markup.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const SHOWN = 100; // exchanges at a time
  const KINDS = {
    "custody.start": "Recording started", "custody.stop": "Recording stopped, in order",
    "custody.recover": "Recording went on after a stop that was not in order", "custody.gap": "Something was not recorded",
    "custody.anchor": "An outside authority’s word on the time was put on the record", "custody.export": "A bundle was handed out",
    "custody.report": "A report was made", "custody.reveal": "An original was opened, or its salt given out",
    "custody.erase": "What opens originals was destroyed", "custody.expire": "What was no longer kept expired",
    "custody.key.issue": "A key was issued",
    "custody.key.revoke": "A key was revoked", "custody.hold.place": "A legal hold was placed",
    "custody.hold.lift": "A legal hold was lifted", "custody.request": "An approval was asked for",
    "custody.approve": "An officer approved an act", "custody.policy.change": "Which acts need an approval, or how long what is kept, changed",
    "case.open": "A case was opened", "case.close": "A case was closed",
  };
  let wasm = null, copy = null, given = null, ownManifest = null;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const unbase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const when = (time) => (time || "").replace("T", " ").replace(/\.\d+Z$/, " UTC").replace(/Z$/, " UTC");

  /** Asks the program about a bundle: a zip file, or files with their paths. */
  function ask(options, zip, files) {
    const parts = files ? files.map((file) => file.bytes) : [zip];
    const head = { ...options, files: files ? files.map((file) => [file.path, file.bytes.length]) : [] };
    const asked = new TextEncoder().encode(JSON.stringify(head));
    const length = 4 + asked.length + parts.reduce((sum, part) => sum + part.length, 0);
    const { input, check, output, memory } = wasm.exports;
    const start = input(length);
    const room = new Uint8Array(memory.buffer, start, length);
    new DataView(memory.buffer, start).setUint32(0, asked.length, true);
    room.set(asked, 4);
    let offset = 4 + asked.length;
    for (const part of parts) { room.set(part, offset); offset += part.length; }
    const answered = check();
    return JSON.parse(new TextDecoder().decode(new Uint8Array(memory.buffer, output(), answered)));
  }

  const trusted = () => ({ vkey: at("vkey").value, policy: at("policy").value, roots: at("roots").value });

  function list(id, items, none) {
    const box = at(id);
    box.replaceChildren(...items.map((item) => {
      const line = element("li", (item.file ? item.file + ": " : "") + item.text);
      line.dataset.code = item.code;
      return line;
    }));
    if (!items.length) box.append(element("li", none, "none"));
  }

  function facts(box, pairs) {
    box.replaceChildren();
    for (const [name, value] of pairs) {
      if (value === undefined || value === null || value === "") continue;
      box.append(element("dt", name), element("dd", value));
    }
  }

  function text(segments) {
    const isData = segments.length > 0 && /^[[{]\n/.test(segments[0].text || "");
    const box = element("p", null, isData ? "text data" : "text");
    for (const segment of segments) {
      if (segment.text !== undefined) { box.append(segment.text); continue; }
      const mark = element("span", null, "redacted");
      mark.append(element("b", segment.entity), " " + segment.token);
      mark.title = "taken out before it was stored: " + segment.entity;
      box.append(mark);
    }
    return box;
  }

  function part(role, inside, className) {
    const box = element("div", null, "part" + (className ? " " + className : ""));
    box.append(element("div", role, "role"), inside);
    return box;
  }

  function sideFacts(name, side) {
    const rows = [
      [name + ", entry", String(side.index)], ["recorded", side.time], ["operation", side.operation], ["upstream", side.upstream],
      ["model", side.model], ["caller", side.actor], ["status", side.status && String(side.status)],
      ["tokens", side.usage && [side.usage.input, side.usage.output].filter((n) => n !== undefined).join(" read, ") + " written"],
      ["redacted under the rules", side.policy], ["what was taken out", side.findings && Object.entries(side.findings).map(([k, n]) => n + " " + k).join(", ")],
      ["commitment to the exact bytes", side.commitment], ["the body around the parts", side.parameters],
    ];
    return rows;
  }

  function exchange(one, seen) {
    const box = element("article", null, "exchange");
    const head = element("h3");
    head.append(element("b", one.request ? when(one.request.time) : one.exchange));
    const model = (one.response && one.response.model) || (one.request && one.request.model) || "";
    head.append(element("span", [model, one.response ? one.response.outcome : "no answer"].filter(Boolean).join(" · ")));
    box.append(head);
    const rows = [];
    for (const [name, side] of [["request", one.request], ["answer", one.response]]) {
      if (!side) continue;
      rows.push(...sideFacts(name, side));
      const into = name === "answer" ? element("div", null, "answer") : box;
      let before = 0;
      for (const shown of side.parts) {
        // A chat sends its history again with every turn.
        if (name === "request" && seen.has(shown.sha256)) { before += 1; continue; }
        seen.add(shown.sha256);
        into.append(part(shown.role === "frame" ? "body" : shown.role, text(shown.text)));
      }
      if (before) {
        const again = part("", element("p", before + (before === 1 ? " part" : " parts") + " as before", "text before"));
        into.insertBefore(again, into.querySelector(".part"));
      }
      if (side.expired) into.append(part("", element("p", "content that is not here: it expired, as entry " + side.expired + " says", "text before")));
      if (side.omitted) into.append(part("", element("p", "no content: " + side.omitted, "text before")));
      if (into !== box) box.append(into);
    }
    const more = element("details", null, "facts");
    more.append(element("summary", "Exchange " + one.exchange));
    const table = element("dl");
    facts(table, rows);
    more.append(table);
    box.append(more);
    return box;
  }

  function show(report, own) {
    const root = document.documentElement;
    const selection = Object.entries(report.selection || {}).map(([name, value]) => name[0].toUpperCase() + name.slice(1) + " " + value);
    at("title").textContent = selection.join(", ") || "A bundle that cannot be read";
    document.title = at("title").textContent + " – evidence bundle";
    const exported = report.exported || {};
    facts(at("about"), [
      ["Log", report.origin], ["Entries in the log", report.size && String(report.size)],
      ["Exchanges here", report.exchanges && String(report.exchanges.length)],
      ["Handed out", exported.time && when(exported.time) + (exported.actor ? " by " + exported.actor : "")], ["Because", exported.why],
    ]);
    root.dataset.state = report.verified ? "verified" : "refused";
    root.dataset.scope = own ? "copy" : "given";
    at("mark").textContent = report.verified ? "✓" : "✕";
    const what = own ? "this page’s own copy of the bundle" : "the bundle that you gave";
    const keyed = report.proved.some((one) => one.code === "key");
    // Whoever makes up a whole log can make up a bundle that agrees with itself. Only a key from elsewhere verifies.
    at("word").textContent = !report.verified ? "NOT VERIFIED" : keyed ? "Verified" : "Agrees with itself";
    at("meaning").textContent = !report.verified
      ? "The evidence says no, in " + report.problems.length + (report.problems.length === 1 ? " place" : " places") + ", of " + what + "."
      : "Computed just now, in this page, from " + what + (keyed ? ", with the key that you gave." : ". To rely on it, give the log’s key below, as you have it from elsewhere.");
    at("shown").textContent = own ? "What you see is this page’s own copy of the bundle." : "What you see is what you gave.";
    list("problems", report.problems, "nothing");
    list("proved", report.proved, "nothing");
    list("unchecked", report.unchecked, "nothing");
    const seen = new Set();
    const exchanges = report.exchanges || [];
    const box = at("exchanges"), more = at("more");
    box.replaceChildren();
    let next = 0;
    const further = () => {
      for (const end = Math.min(next + SHOWN, exchanges.length); next < end; next += 1) box.append(exchange(exchanges[next], seen));
      more.hidden = next >= exchanges.length;
      more.textContent = "Show more (" + (exchanges.length - next) + " left)";
    };
    more.onclick = further;
    further();
    at("custody").replaceChildren(...(report.custody || []).map((act) => {
      const line = element("li");
      line.append(element("time", when(act.time) + " · entry " + act.index));
      line.append(element("b", KINDS[act.kind] || act.kind));
      const said = [act.actor && "by " + act.actor, act.what, act.why && "because: " + act.why].filter(Boolean);
      if (said.length) line.append(element("div", said.join(" · ")));
      return line;
    }));
    facts(at("footer"), []);
    at("footer").textContent = report.root
      ? "Root of the log’s tree: " + report.root + " · SHA-256 of manifest-sha256.txt: " + report.manifest : "";
  }

  function run() {
    document.documentElement.dataset.state = "checking";
    if (given) {
      const report = ask({ ...trusted(), payload: false }, given.zip, given.files);
      if (ownManifest && report.manifest) {
        report[report.manifest === ownManifest ? "proved" : "unchecked"].push({ code: "same", text: report.manifest === ownManifest
          ? "the bundle that you gave has the payload that this page came with"
          : "the bundle that you gave is another one than this page came with: what you see is the one that you gave" });
      }
      show(report, false);
    } else if (copy) {
      const report = ask({ ...trusted(), payload: true }, copy);
      ownManifest = report.manifest || ownManifest;
      show(report, true);
    } else {
      document.documentElement.dataset.state = "waiting";
      at("title").textContent = "No bundle yet";
      at("word").textContent = "Nothing to check";
      at("meaning").textContent = "Drop a bundle below: the zip file, or its folder.";
    }
  }

  /** The files below a dropped folder. */
  async function entries(entry, path, into) {
    if (entry.isFile) {
      const file = await new Promise((yes, no) => entry.file(yes, no));
      into.push({ path, bytes: new Uint8Array(await file.arrayBuffer()) });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) return;
      for (const one of some) await entries(one, path ? path + "/" + one.name : one.name, into);
    }
  }

  function failed(error) {
    document.documentElement.dataset.state = "failed";
    at("mark").textContent = "!";
    at("word").textContent = "This browser could not check it";
    at("meaning").textContent = String(error) + ". Use verify.py, or another browser.";
  }

  async function give(read) {
    try {
      document.documentElement.dataset.state = "checking";
      given = await read();
      run();
    } catch (error) { failed(error); }
  }

  at("zip").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) give(async () => ({ zip: new Uint8Array(await file.arrayBuffer()) }));
  });
  at("folder").addEventListener("change", (event) => {
    const files = [...event.target.files];
    if (files.length) give(async () => ({ files: await Promise.all(files.map(async (file) => ({
      path: file.webkitRelativePath.split("/").slice(1).join("/"), bytes: new Uint8Array(await file.arrayBuffer()),
    }))) }));
  });
  addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  addEventListener("dragleave", () => at("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    const [item] = event.dataTransfer.items;
    const entry = item && item.webkitGetAsEntry && item.webkitGetAsEntry();
    const [file] = event.dataTransfer.files;
    if (entry && entry.isDirectory) give(async () => { const files = []; await entries(entry, "", files); return { files }; });
    else if (file) give(async () => ({ zip: new Uint8Array(await file.arrayBuffer()) }));
  });
  at("again").addEventListener("click", run);

  (async () => {
    try {
      const program = await WebAssembly.instantiate(unbase64(at("program").textContent), {});
      wasm = program.instance;
      const embedded = at("bundle").textContent;
      copy = embedded ? unbase64(embedded) : null;
      run();
    } catch (error) { failed(error); }
  })();
})();
