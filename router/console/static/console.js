// Pages follow what changes: the server says that something did, the page is asked for again, and only those parts
// whose text differs are exchanged. Nothing that is open, chosen or focused is touched.
(function () {
  "use strict";
  var busy = false, again = false;

  function busyWith(part) {
    var focus = document.activeElement;
    return part.contains(focus) && focus !== document.body && /^(INPUT|TEXTAREA|SELECT|BUTTON)$/.test(focus.tagName);
  }

  // what the server sent of each part: charts and open details change the page, not the text
  var sources = new Map();

  function remember(document) {
    document.querySelectorAll("[data-live]").forEach(function (part) { sources.set(part.id, part.outerHTML); });
  }

  function exchange(fresh) {
    document.querySelectorAll("[data-live]").forEach(function (part) {
      var next = fresh.getElementById(part.id);
      if (!next || next.outerHTML === sources.get(part.id) || busyWith(part)) { return; }
      sources.set(part.id, next.outerHTML);
      var open = Array.from(part.querySelectorAll("details[open] > summary"), function (s) { return s.textContent; });
      var scrolled = Array.from(part.querySelectorAll(".scroll"), function (s) { return [s.scrollLeft, s.scrollTop]; });
      document.adoptNode(next);
      next.querySelectorAll(".chart").forEach(function (chart) {
        var drawn = document.getElementById(chart.id), spec = chart.querySelector("script.spec");
        if (drawn && spec && drawn.spec === spec.textContent) { chart.replaceWith(drawn); }
      });
      part.replaceWith(next);
      next.querySelectorAll(".scroll").forEach(function (s, i) {
        if (scrolled[i]) { s.scrollTo(scrolled[i][0], scrolled[i][1]); }
      });
      next.querySelectorAll("details > summary").forEach(function (s) {
        if (open.indexOf(s.textContent) >= 0) { s.parentElement.open = true; }
      });
    });
    document.dispatchEvent(new CustomEvent("switchpoint:exchanged"));
  }

  function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" })
      .then(function (answer) {
        if (!answer.ok) { throw new Error(String(answer.status)); }
        return answer.text();
      })
      .then(function (text) { exchange(new DOMParser().parseFromString(text, "text/html")); lost(false); })
      .catch(function () { lost(true); })
      .finally(function () {
        busy = false;
        if (again) { again = false; refresh(); }
      });
  }

  function lost(is) {
    var note = document.getElementById("lost");
    if (is && !note) {
      note = document.createElement("p");
      note.id = "lost";
      note.className = "problem";
      note.setAttribute("role", "alert");
      note.textContent = "The console does not answer. What you see is what it said last; the page goes on by itself when it is back.";
      document.getElementById("main").prepend(note);
    } else if (!is && note) { note.remove(); }
  }

  function follow() {
    var events = new EventSource(document.body.dataset.stream || "/live");
    events.addEventListener("changed", refresh);
    events.onerror = events.onopen = refresh;
  }

  function turn() {
    var pages = Number(document.body.dataset.pages);
    if (pages > 1) {
      setTimeout(function () { location.search = "?page=" + (Number(document.body.dataset.page) + 1); }, 15000);
    }
  }

  // A text is checked while it is typed: the answer is the page that the form's button would show.
  function checking(form) {
    var text = form.elements.definition, waiting;
    function check() {
      var sent = new URLSearchParams(new FormData(form)), asked = text.value;
      fetch(form.action, { method: "POST", body: sent, redirect: "error" })
        .then(function (answer) {
          if (!answer.ok) { throw new Error(String(answer.status)); }
          return answer.text();
        })
        .then(function (page) {
          lost(false);
          if (text.value !== asked) { return; }
          var fresh = new DOMParser().parseFromString(page, "text/html").getElementById(form.dataset.check);
          document.getElementById(form.dataset.check).replaceWith(document.adoptNode(fresh));
        })
        .catch(function () { lost(true); });
    }
    text.addEventListener("input", function () {
      // what was said of the text of before can no longer be acted on
      document.getElementById(form.dataset.check).inert = true;
      clearTimeout(waiting);
      waiting = setTimeout(check, 400);
    });
  }

  // a file that would be refused is not sent first
  document.querySelectorAll("input[data-limit]").forEach(function (input) {
    input.addEventListener("change", function () {
      var limit = Number(input.dataset.limit), file = input.files[0];
      var large = file && file.size > limit;
      input.setCustomValidity(large ? "This file is larger than " + limit / 1e6 + " MB." : "");
      input.reportValidity();
    });
  });
  document.querySelectorAll("form[data-check]").forEach(checking);
  if (document.querySelector("[data-live]") && window.EventSource) {
    remember(document);
    follow();
    turn();
  }
})();
