// Before the first paint: the theme that was chosen, if any. Without this file the system's choice holds.
"use strict";
document.documentElement.classList.add("scripts");
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch (_) { /* storage is off: the system's choice holds */ }
