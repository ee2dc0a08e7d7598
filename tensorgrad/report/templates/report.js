// Values of a chart where it is pointed at or touched
for (const band of document.querySelectorAll(".band")) {
  const show = () => { band.closest(".chart").querySelector(".readout").textContent = band.textContent }
  band.addEventListener("pointerenter", show)
  band.addEventListener("click", show)
}

// Tables sorted by the column whose heading is selected
for (const table of document.querySelectorAll(".sortable")) {
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells]
  headings.forEach((heading, column) => {
    const button = document.createElement("button")
    button.type = "button"
    button.textContent = heading.textContent
    heading.replaceChildren(button)
    button.addEventListener("click", () => {
      const isNumber = heading.classList.contains("number")
      const before = heading.getAttribute("aria-sort")
      const order = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending"
      const sign = order === "ascending" ? 1 : -1, value = row => Number(row.cells[column].dataset.value)
      body.append(...[...body.rows].sort((one, other) => sign * (value(one) - value(other))))
      for (const each of headings) each.removeAttribute("aria-sort")
      heading.setAttribute("aria-sort", order)
    })
  })
}

// A hint below what is larger than its box
const boxes = [...document.querySelectorAll(".scroll")]
for (const box of boxes) {
  const hint = document.createElement("p")
  hint.className = "hint"
  box.after(hint)
}
const look = () => {
  for (const box of boxes) {
    const isWide = box.scrollWidth > box.clientWidth + 1, isTall = box.scrollHeight > box.clientHeight + 1
    box.classList.toggle("is-cut", isWide || isTall)
    box.nextElementSibling.textContent = isWide ? "Scroll sideways for more \u2192" : "Scroll for more \u2193"
  }
}
addEventListener("load", look)
addEventListener("resize", look)
for (const each of document.querySelectorAll("details")) each.addEventListener("toggle", look)
