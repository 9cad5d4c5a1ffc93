// SPDX-License-Identifier: MIT

/**
 * A run as one picture (SVG): the ratios as bars, of the program as it ships and of the library, then the
 * lines of growth as small graphs.
 *
 * Design. Ratios stand on a logarithmic scale around 1, so that half as much and twice as much are
 * equally far from it. Lines start at 0: one that only looks steep is not. The picture has its own
 * background, and one set of colours for light and one for dark. What the colours say is also written.
 *
 * @module
 */

import { formatFigure, formatPoint, formatSpread, formatVerdict } from './format.ts'
import type { LineResult } from './growth.ts'
import { comparisonLabel, flatnessLabel, type Report } from './report.ts'
import type { Comparison, RowResult, Spread } from './row.ts'

const WIDTH = 900
const MARGIN = 24
/** Where bars are drawn; labels are to the left, figures to the right. */
const BARS = { left: 300, right: 640 }
const LINE_HEIGHT = 20
const GRAPH = { width: (WIDTH - 3 * MARGIN) / 2, height: 230, left: 48, right: 16, top: 60, bottom: 40 }

const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.heading { font-size: 16px; font-weight: 600 } .title { font-weight: 600 }
.soft { fill: #59636e; font-weight: 400 } .small { font-size: 10.5px }
.end { text-anchor: end } .middle { text-anchor: middle }
.paper { fill: #ffffff } .grid { stroke: #d1d9e0 } .one { stroke: #59636e }
.whisker { stroke: #1f2328 } .target { stroke: #8250df; stroke-width: 3 }
.met { fill: #4ac26b } .missed { fill: #ff8182 } .plain { fill: #afb8c1 }
polyline { fill: none; stroke-width: 2 } .ours { stroke: #0969da; fill: #0969da }
.theirs { stroke: #9a6700; fill: #9a6700; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .soft { fill: #9198a1 }
.paper { fill: #0d1117 } .grid { stroke: #3d444d } .one { stroke: #9198a1 } .whisker { stroke: #f0f6fc } .target { stroke: #ab7df8 }
.met { fill: #238636 } .missed { fill: #b62324 } .plain { fill: #656c76 }
.ours { stroke: #4493f8; fill: #4493f8 } .theirs { stroke: #d29922; fill: #d29922 }
}
text.ours, text.theirs { stroke: none } polyline { fill: none !important }
`

/** The picture, as the text of a file. */
export function chartOf(report: Report): string {
  const shipped = sectionOf('The program as it ships', report.shipped, 104)
  const library = sectionOf('The library', report.rows, shipped.bottom)
  const graphs = graphsOf(report.growth, library.bottom)
  const height = graphs.bottom + MARGIN
  const { date, node, system, cpu, cores, directory, rounds } = report
  const conditions = `${date}, Node ${node}, ${system}, ${cores} × ${cpu}, ${directory}, ${rounds} rounds`
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">Benchmarks of longhaul</title>`,
    `<desc id="desc">${escapeXml(descriptionOf(report))}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="6"/>`,
    text(MARGIN, 34, "longhaul's figure over that of others", 'heading'),
    text(MARGIN, 54, conditions, 'soft small'),
    text(MARGIN, 70, 'Bar: median of the rounds. Thin line: its middle half. Violet mark: what is to be reached (green: met, red: missed, grey: nothing to reach).', 'soft small'),
    ...shipped.elements,
    ...library.elements,
    ...graphs.elements,
    '</svg>',
  ].join('\n')}\n`
}

/** The same for those who cannot see it. */
function descriptionOf({ shipped, rows, growth }: Report): string {
  const sentence = (label: string, comparison: Comparison): string =>
    `${label} ${formatSpread(comparison.spread)} ${formatVerdict(comparison)}`.trim()
  return [
    ...compared([...shipped, ...rows]).map((row) => `${row.title}: ${row.comparisons.map((comparison) => sentence(comparisonLabel(row, comparison), comparison)).join('; ')}.`),
    ...growth.map((line) => `${line.title}: ${sentence(flatnessLabel(line), line.flatness)}.`),
  ].join(' ')
}

interface Drawing {
  readonly elements: readonly string[]
  /** Where the next may begin. */
  readonly bottom: number
}

/** A row that compares nothing has no ratio to draw. */
function compared(rows: readonly RowResult[]): readonly RowResult[] {
  return rows.filter(({ comparisons }) => comparisons.length > 0)
}

/** The bars of some rows under a heading; nothing if they compare nothing. */
function sectionOf(heading: string, rows: readonly RowResult[], top: number): Drawing {
  if (compared(rows).length === 0) return { elements: [], bottom: top }
  const { elements, bottom } = barsOf(rows, top + 20)
  return { elements: [text(MARGIN, top, heading, 'heading'), ...elements], bottom: bottom + 40 }
}

/** One bar for each comparison, under the titles of the rows. */
function barsOf(rows: readonly RowResult[], top: number): Drawing {
  const ratios = rows.flatMap(({ comparisons }) => comparisons.filter(({ against }) => against !== undefined))
  const { at, ticks } = ratioScale(
    ratios.flatMap(({ spread, atMost, atLeast }) => [spread.q1, spread.q3, spread.median, atMost ?? 1, atLeast ?? 1]),
  )
  const numbers = (y: number): string[] =>
    ratios.length > 0 ? ticks.map((tick) => text(at(tick), y, formatFigure(tick), 'soft small middle')) : []
  const elements = numbers(top)
  let y = top
  for (const row of compared(rows)) {
    const [from, to] = [y + 24, y + 24 + row.comparisons.length * LINE_HEIGHT]
    elements.push(text(MARGIN, y + 18, row.title, 'title', `, ${row.unit}`))
    elements.push(...ticks.map((tick) => line(at(tick), from, at(tick), to, tick === 1 ? 'one' : 'grid')))
    elements.push(
      ...row.comparisons.flatMap((comparison, i) => barOf(comparisonLabel(row, comparison), comparison, from + i * LINE_HEIGHT, at)),
    )
    y = to + 6
  }
  return { elements: [...elements, ...numbers(y + 10)], bottom: y + 10 }
}

function barOf(label: string, comparison: Comparison, y: number, at: (ratio: number) => number): string[] {
  const { against, spread, met, atMost, atLeast } = comparison
  const verdict = [formatFigure(spread.median), formatVerdict(comparison)].filter((part) => part !== '').join(', ')
  const labels = [text(MARGIN + 12, y + 14, label, 'soft'), text(BARS.right + 12, y + 14, verdict, '')]
  if (against === undefined || Number.isNaN(spread.median)) return labels
  const [from, to] = [at(1), at(spread.median)].sort((a, b) => a - b) as [number, number]
  const targets = [atMost, atLeast].filter((bound) => bound !== undefined)
  return [
    ...labels,
    `<rect class="${met === undefined ? 'plain' : met ? 'met' : 'missed'}" x="${round(from)}" y="${y + 4}" width="${round(Math.max(to - from, 1))}" height="12"/>`,
    line(at(spread.q1), y + 10, at(spread.q3), y + 10, 'whisker'),
    ...targets.map((bound) => line(at(bound), y + 1, at(bound), y + 19, 'target')),
  ]
}

/** A logarithmic scale that holds 1 and all that is above 0 and finite; what is not goes to its ends. */
function ratioScale(ratios: readonly number[]): { readonly at: (ratio: number) => number; readonly ticks: readonly number[] } {
  const drawable = [0.5, 2, ...ratios.filter((ratio) => ratio > 0 && ratio < Infinity)]
  const [low, high] = [Math.min(...drawable) / 1.1, Math.max(...drawable) * 1.1]
  const at = (ratio: number): number =>
    BARS.left + ((Math.log(clamp(ratio, low, high)) - Math.log(low)) / (Math.log(high) - Math.log(low))) * (BARS.right - BARS.left)
  const steps = high / low > 200 ? [1] : [1, 2, 5]
  const decades = Array.from({ length: Math.ceil(Math.log10(high / low)) + 2 }, (_, i) => Math.floor(Math.log10(low)) + i)
  const ticks = decades
    .flatMap((decade) => steps.map((step) => Number((step * 10 ** decade).toPrecision(1))))
    .filter((tick) => tick >= low && tick <= high)
  return { at, ticks }
}

/** One graph for each line, two beside each other. */
function graphsOf(lines: readonly LineResult[], top: number): Drawing {
  const elements = lines.flatMap((each, i) =>
    graphOf(each, MARGIN + (i % 2) * (GRAPH.width + MARGIN), top + 20 + Math.floor(i / 2) * GRAPH.height),
  )
  if (lines.length === 0) return { elements, bottom: top }
  return {
    elements: [text(MARGIN, top, 'What grows with size and number', 'heading'), ...elements],
    bottom: top + 20 + Math.ceil(lines.length / 2) * GRAPH.height,
  }
}

function graphOf(result: LineResult, x: number, y: number): string[] {
  const { title, unit, axis, series, flatness } = result
  const { points } = axis
  const [left, right, top, bottom] = [x + GRAPH.left, x + GRAPH.width - GRAPH.right, y + GRAPH.top, y + GRAPH.height - GRAPH.bottom]
  const [first, last] = [points[0] ?? 1, points.at(-1) ?? 1]
  const high = Math.max(...series.flatMap(({ points }) => points.map(({ spread }) => spread.q3)).filter(Number.isFinite)) * 1.1
  const across = (value: number): number => left + (Math.log(value / first) / Math.log(last / first)) * (right - left)
  const up = (value: number): number => bottom - (value / high) * (bottom - top)
  const step = niceStep(high / 4)
  const ticks = Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step)
  return [
    text(x, y + 16, title, 'title', `, ${unit}`),
    text(x, y + 32, `longhaul, ${flatnessLabel(result)}: ${formatFigure(flatness.spread.median)}, ${formatVerdict(flatness)}`, 'small'),
    ...series.map(({ name }, i) => text(left + i * 90, y + 48, name, `${classOf(i)} small`)),
    ...ticks.flatMap((tick) => [
      line(left, up(tick), right, up(tick), 'grid'),
      text(left - 6, up(tick) + 4, formatFigure(tick), 'soft small end'),
    ]),
    ...points.map((point) => text(across(point), bottom + 14, formatPoint(point, axis.unit), 'soft small middle')),
    text((left + right) / 2, bottom + 28, axis.label, 'soft small middle'),
    ...series.flatMap(({ points }, i) => curveOf(points.map(({ x, spread }) => ({ x: across(x), spread })), up, classOf(i))),
  ]
}

/** Medians, joined, with the quartiles of each. */
function curveOf(
  points: readonly { readonly x: number; readonly spread: Spread }[],
  up: (value: number) => number,
  className: string,
): string[] {
  const drawable = points.filter(({ spread }) => Number.isFinite(spread.q1 + spread.median + spread.q3))
  return [
    ...drawable.map(({ x, spread }) => line(x, up(spread.q1), x, up(spread.q3), className)),
    `<polyline class="${className}" points="${drawable.map(({ x, spread }) => `${round(x)},${round(up(spread.median))}`).join(' ')}"/>`,
    ...drawable.map(({ x, spread }) => `<circle class="${className}" cx="${round(x)}" cy="${round(up(spread.median))}" r="3"/>`),
  ]
}

function classOf(series: number): string {
  return series === 0 ? 'ours' : 'theirs'
}

/** 1, 2 or 5 with zeros, not below `step`. */
function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step))
  return ([1, 2, 5].find((digit) => digit * power >= step) ?? 10) * power
}

function text(x: number, y: number, words: string, className: string, softWords = ''): string {
  const soft = softWords === '' ? '' : `<tspan class="soft">${escapeXml(softWords)}</tspan>`
  return `<text class="${className}" x="${round(x)}" y="${round(y)}">${escapeXml(words)}${soft}</text>`
}

function line(x1: number, y1: number, x2: number, y2: number, className: string): string {
  return `<line class="${className}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`
}

/** Text as it may stand between tags; what XML does not allow at all becomes a replacement character. */
export function escapeXml(words: string): string {
  return words
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
}

function round(figure: number): number {
  return Math.round(figure * 10) / 10
}

function clamp(figure: number, low: number, high: number): number {
  return Math.min(Math.max(figure, low), high)
}
