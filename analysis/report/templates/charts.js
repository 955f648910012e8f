// `ast` evaluates chart expressions without eval, so the page's policy can forbid it.
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("charts").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function draw() {
    var config = dark.matches ? data.dark : data.light;
    Object.keys(data.specs).forEach(function (key) {
      var place = document.getElementById("chart-" + key);
      if (!place) { return; }
      var options = { actions: false, renderer: "svg", ast: true, config: config };
      window.vegaEmbed(place, data.specs[key], options);
    });
  }
  dark.addEventListener("change", draw);
  draw();
})();
