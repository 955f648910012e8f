// the table is complete without this script, which only hides, orders and reveals its rows
document.documentElement.className = "js";
(function () {
  "use strict";
  var table = document.getElementById("experiments"), heads = table.tHead.rows[0].cells;
  var find = document.getElementById("find"), verdict = document.getElementById("verdict");
  var flag = document.getElementById("flag"), count = document.getElementById("count");
  var more = document.getElementById("more"), step = 100, limit = step, order = [], turn = 1;
  var tiles = document.querySelectorAll("button.tile");
  var rows = Array.prototype.map.call(table.tBodies, function (body) {
    return { body: body, text: body.textContent.toLowerCase(), verdict: body.dataset.verdict,
             flags: body.dataset.flags.split("|") };
  });
  function matches(row) {
    var words = find.value.toLowerCase().trim();
    return (!words || row.text.indexOf(words) >= 0) && (!verdict.value || row.verdict === verdict.value) &&
      (!flag.value || row.flags.indexOf(flag.value) >= 0);
  }
  function draw() {
    var found = 0;
    rows.forEach(function (row) {
      var here = matches(row);
      found += here;
      row.body.classList.toggle("off", !here || found > limit);
    });
    var shown = Math.min(found, limit);
    count.textContent = shown.toLocaleString("en") + " of " + found.toLocaleString("en") + " shown" +
      (found < rows.length ? ", " + rows.length.toLocaleString("en") + " in all" : "");
    more.hidden = shown === found;
    tiles.forEach(function (tile) {
      tile.setAttribute("aria-pressed", String(tile.dataset.verdict === verdict.value));
    });
  }
  function restart() { limit = step; draw(); }
  // a number in a cell: "< 1e-300" is 0, an interval is its lower end, what is missing comes last
  function number(text) {
    if (text[0] === "<") { return 0; }
    return parseFloat(text.replace(/\u2212/g, "-").replace(/[[,+%]/g, function (sign, place, whole) {
      return sign === "," && whole[0] === "[" ? " " : "";
    }));
  }
  function sort(place) {
    var words = heads[place].classList.contains("word");
    rows.forEach(function (row) {
      var text = row.body.rows[0].cells[place].textContent;
      row.key = words ? text : number(text);
    });
    rows.sort(function (a, b) {
      if (words) { return turn * a.key.localeCompare(b.key, "en", { numeric: true }); }
      var x = isNaN(a.key), y = isNaN(b.key);
      return x || y ? x - y : turn * (a.key - b.key);
    });
    var parts = document.createDocumentFragment();
    rows.forEach(function (row) { parts.appendChild(row.body); });
    table.appendChild(parts);
    Array.prototype.forEach.call(heads, function (head, i) {
      if (i === place) { head.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending"); }
      else { head.removeAttribute("aria-sort"); }
    });
    restart();
  }
  table.tHead.addEventListener("click", function (event) {
    var head = event.target.closest("th");
    if (!head) { return; }
    turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    sort(head.cellIndex);
  });
  table.addEventListener("click", function (event) {
    var body = event.target.closest("tbody");
    if (body && String(window.getSelection()) === "") { body.classList.toggle("open"); }
  });
  find.addEventListener("input", restart);
  verdict.addEventListener("change", restart);
  flag.addEventListener("change", restart);
  document.getElementById("reasons").addEventListener("change", function (event) {
    table.parentNode.classList.toggle("all", event.target.checked);
  });
  more.addEventListener("click", function () { limit += 4 * step; draw(); });
  tiles.forEach(function (tile) {
    tile.addEventListener("click", function () {
      verdict.value = verdict.value === tile.dataset.verdict ? "" : tile.dataset.verdict;
      restart();
    });
  });
  document.querySelector("form.controls").addEventListener("submit", function (e) { e.preventDefault(); });
  draw();
})();
