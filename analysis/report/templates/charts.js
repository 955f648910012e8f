// `ast` evaluates chart expressions without eval, so a page's policy can forbid it. What is to be drawn stands in the
// chart's own element; a page that exchanges parts of itself says so, and only what is new is drawn.
(function () {
  "use strict";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function draw(place) {
    var source = place.querySelector("script.spec");
    if (source) { place.spec = source.textContent; }
    var themes = JSON.parse(document.getElementById("chart-themes").textContent);
    var options = {
      actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true },
      config: dark.matches ? themes.dark : themes.light,
    };
    window.vegaEmbed(place, JSON.parse(place.spec), options);
  }
  function each(choice) { document.querySelectorAll(choice).forEach(draw); }
  dark.addEventListener("change", function () { each(".chart"); });
  document.addEventListener("switchpoint:exchanged", function () { each(".chart:has(> script.spec)"); });
  each(".chart");
})();
