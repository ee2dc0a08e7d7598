"""The report as a browser shows it: on a screen and on a phone, light and dark."""

import html
import json

import pytest

from tensorgrad.training import Epoch
from tests.experiments.test_run_report import convolutional, report_of
from tests.support import needs_chromium, shown_in_chromium

PROBE = """<!doctype html><body></body><script>
const found = []

function colour(text) {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number)
  return [r, g, b, a]
}

function background(element) {
  if (!element) return [255, 255, 255]
  const [r, g, b, a] = colour(element.ownerDocument.defaultView.getComputedStyle(element).backgroundColor)
  if (a === 1) return [r, g, b]
  const below = background(element.parentElement)
  return [r, g, b].map((part, i) => a * part + (1 - a) * below[i])
}

function luminance(parts) {
  const [r, g, b] = parts.map(part => part / 255).map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

function contrast(element, style) {
  const [one, other] = [luminance(background(element)), luminance(colour(style.color).slice(0, 3))]
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
}

function lookAtText(inside, window, say) {
  const walker = inside.createTreeWalker(inside.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement
    if (!text || element.closest("script, style, title") || !element.getClientRects().length) continue
    const style = window.getComputedStyle(element), inGraph = element.closest(".graph")
    if (parseFloat(style.fontSize) < 11) say("text of " + style.fontSize + ": " + text)
    if (!inGraph && contrast(element, style) < 4.5) say("contrast " + contrast(element, style).toFixed(1) + ": " + text)
  }
}

function lookAtPictures(inside, width, say) {
  for (const each of inside.querySelectorAll("img, svg")) {
    const box = each.getBoundingClientRect()
    const name = each.alt || each.getAttribute("aria-label") || each.textContent.slice(0, 50)
    if (each.closest("figure, div").getClientRects().length === 0) continue
    if (each.tagName === "IMG" && !each.naturalWidth) say("no picture: " + name)
    const isHidden = each.closest(".strip") && !box.width
    if (!isHidden && (box.width < 20 || box.height < 20)) say("tiny: " + name + " " + box.width)
    const around = each.closest(".scroll, .plot, .tile, section").getBoundingClientRect()
    const isOutside = box.left < around.left - 1 || box.right > Math.min(around.right + 1, width)
    if (isOutside && !each.closest(".scroll")) say("clipped: " + name)
    if (each.closest(".graph") && box.width < Number(each.getAttribute("width")) - 1) say("shrunk: " + name)
  }
  for (const tick of inside.querySelectorAll(".tick, .key")) {
    const box = tick.getBoundingClientRect()
    if (box.left < 0 || box.right > width) say("clipped: " + tick.textContent)
  }
}

function lookAtTables(inside, width, say) {
  for (const box of inside.querySelectorAll(".scroll")) {
    const isWide = box.scrollWidth > box.clientWidth + 1, hint = box.nextElementSibling
    if (isWide !== (hint.getClientRects().length > 0)) say("hint of " + box.getAttribute("aria-label"))
  }
  const table = inside.querySelector(".sortable")
  const recall = () => [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value))
  const ordered = numbers => [...numbers].sort((one, other) => one - other).join()
  const button = table.tHead.rows[0].cells[2].querySelector("button")
  button.click()
  if (recall().reverse().join() !== ordered(recall())) say("not sorted down")
  button.click()
  if (recall().join() !== ordered(recall())) say("not sorted up")
  const band = inside.querySelector(".band"), readout = band.closest(".chart").querySelector(".readout")
  band.dispatchEvent(new Event("pointerenter"))
  if (!readout.textContent.startsWith("epoch 1: training ")) say("readout " + readout.textContent)
}

async function probe(page, width, scheme) {
  const say = text => found.push(page + " " + width + " " + scheme + ", " + text)
  const frame = Object.assign(document.createElement("iframe"), {src: page, width, height: 900})
  frame.style.colorScheme = scheme
  frame.style.border = "0"
  document.body.append(frame)
  await new Promise(done => frame.onload = done)
  const inside = frame.contentDocument, window = frame.contentWindow
  for (const each of inside.querySelectorAll("details")) each.open = true
  await new Promise(done => setTimeout(done, 100))
  if (!window.matchMedia(`(prefers-color-scheme: ${scheme})`).matches) say("is in the other scheme")
  if (luminance(background(inside.body)) > 0.5 !== (scheme === "light")) say("background")
  if (inside.documentElement.scrollWidth > width) say("page of " + inside.documentElement.scrollWidth)
  const sections = [...inside.querySelectorAll("section")].filter(each => each.querySelector("h2").textContent)
  if (sections.map(each => each.id).join() !== %s) say("sections")
  for (const each of sections) if (!inside.querySelector(`nav a[href="#${each.id}"]`)) say("no link to " + each.id)
  lookAtText(inside, window, say)
  lookAtPictures(inside, width, say)
  lookAtTables(inside, width, say)
  frame.remove()
}

onload = async () => {
  for (const page of %s)
    for (const width of [1280, 390]) for (const scheme of ["light", "dark"]) await probe(page, width, scheme)
  document.body.textContent = "FOUND " + JSON.stringify(found)
}
</script>"""

SECTIONS = "learning,classes,calibration,mistakes,examples,weights,layers,network,settings,repeat"

CHARACTERS = [f"{first}_{last}" for first in ("homer", "bartholomew", "ned") for last in ("simpson", "van_houten", "x")]


@needs_chromium
@pytest.mark.slow
def test_the_report_fits_a_screen_and_a_phone_light_and_dark(tmp_path):
    pages = {
        "digits": {"classes": list("0123456789")},
        "characters": {
            "classes": [*CHARACTERS, *(f"{name}_2" for name in CHARACTERS), "x" * 300],
            "build": convolutional,
            "channels": 3,
            "history": [Epoch(1, float("nan"), 0.5, 2e15, 0.4, 0.01, 0.1)],
            "metrics": {"stopped": "stopped by SIGINT", "diverged": True},
        },
    }
    for name, given in pages.items():
        (tmp_path / name).mkdir()
        report_of(tmp_path / name, **given)
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE % (json.dumps(SECTIONS), json.dumps([f"{name}/report.html" for name in pages])))
    shown = shown_in_chromium(probe, tmp_path / "profile")
    assert json.loads(html.unescape(shown[shown.index("FOUND ") + 6 : shown.index("</body>")])) == []
