// Asks in the page before something is changed.

import { byId } from "./dom.js";

byId("confirm-no").addEventListener("click", () => byId("confirm").close());

/** Ask; the answer is null for no, else `{share}`, from 0 to 1, where a share was asked for. */
export function confirm({ title, text, yes, wantsShare = false }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  byId("confirm-share").hidden = !wantsShare;
  byId("share").disabled = !wantsShare; // so that it is not checked where it is not shown
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? { share: byId("share").valueAsNumber / 100 } : null),
      { once: true },
    );
  });
}
