// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import { test } from 'node:test'
import { chartOf, escapeXml } from '../bench/chart.ts'
import { formatFigure, formatPoint, formatVerdict } from '../bench/format.ts'
import { judgeLine, takeTurnsAlong, type Axis, type Line, type Series } from '../bench/growth.ts'
import { completeHead, KeptConnection } from '../bench/kept-connection.ts'
import { turnOf } from '../bench/load.ts'
import { missesOf, rowText, type Report } from '../bench/report.ts'
import { judge, spreadOf, takeTurns, type Row, type Target } from '../bench/row.ts'
import { startCommandOf } from '../bench/server-process.ts'
import { ROOT } from './support/examples.ts'
import { listen } from './support/listen.ts'

const axis: Axis = { label: 'uploads', unit: 'count', points: [1, 10, 100], reference: 10 }

function rowWith(...targets: readonly Target[]): Row {
  return { name: 'row', title: 'A <row> & "more"', unit: 'ms', targets, measure: async () => new Map() }
}

function lineWith(better: Line['better']): Line {
  return { name: 'line', title: 'A line', unit: 'CPU s', better, axis, measure: async () => [] }
}

function seriesOf(name: string, ...figures: readonly (readonly number[])[]): Series {
  return { name, figures: new Map(axis.points.map((x, i) => [x, figures[i] ?? []])) }
}

test('median and quartiles lie between neighbours, whatever the order; without figures they are not numbers', () => {
  assert.deepEqual(spreadOf([4, 1, 3, 2, 5]), { q1: 2, median: 3, q3: 4 })
  assert.deepEqual(spreadOf([10, 1]), { q1: 3.25, median: 5.5, q3: 7.75 })
  assert.deepEqual(spreadOf([]), { q1: NaN, median: NaN, q3: NaN })
})

test('everybody has a turn in each round, another goes first each time, and the first round does not count', async () => {
  const turns: string[] = []
  const measured = await takeTurns([{ name: 'a' }, { name: 'b' }], 2, async ({ name }) => turns.push(name))
  assert.equal(turns.join(''), 'abbaab')
  assert.deepEqual(measured, new Map([['a', [4, 5]], ['b', [3, 6]]]))
})

test('ratios are taken round by round: what slowed down one round slowed down both', () => {
  const { comparisons } = judge(rowWith({ against: 'other', atMost: 0.5 }), new Map([['longhaul', [1, 10, 2]], ['other', [2, 20, 4]]]))
  assert.deepEqual(comparisons, [{ against: 'other', atMost: 0.5, spread: { q1: 0.5, median: 0.5, q3: 0.5 }, met: true }])
})

test('a target that names nobody is about the figure itself; a comparison without a target is only told', () => {
  const measured = new Map([['longhaul', [9, 11, 10]], ['other', [10, 10, 10]]])
  const { comparisons } = judge(rowWith({ atMost: 10 }, { atMost: 9.9 }, { atLeast: 10 }), measured)
  assert.deepEqual(
    comparisons.map(({ against, met }) => [against, met]),
    [
      ['other', undefined],
      [undefined, true],
      [undefined, false],
      [undefined, true],
    ],
  )
})

test('what is not a number reaches no target, and a target against somebody who was not measured is refused', () => {
  const [comparison] = judge(rowWith({ against: 'other', atMost: 1 }), new Map([['longhaul', [0]], ['other', [0]]])).comparisons
  assert.equal(comparison?.met, false)
  assert.throws(() => judge(rowWith({ against: 'othr', atMost: 1 }), new Map([['longhaul', [0]], ['other', [0]]])), RangeError)
})

test('a target may be for one kind of storage only', () => {
  const measured = new Map([['longhaul', [3]], ['other', [2]]])
  const row = rowWith({ against: 'other', atLeast: 2, on: 'tmpfs' }, { against: 'other', atLeast: 1, on: 'disk' })
  const metOn = (storage: 'tmpfs' | 'disk') => judge(row, measured, storage).comparisons.map(({ met }) => met)
  assert.deepEqual([metOn('tmpfs'), metOn('disk')], [[false], [true]])
})

test('a line is flat if its end is like its reference, whatever is before that', () => {
  const flat = seriesOf('longhaul', [9, 9, 9], [1, 2, 1], [1.2, 2.4, 1.2])
  const steep = seriesOf('longhaul', [1, 1, 1], [1, 2, 1], [1.3, 2.6, 1.3])
  assert.equal(judgeLine(lineWith('lower'), [flat]).flatness.met, true)
  assert.equal(judgeLine(lineWith('lower'), [steep]).flatness.met, false)
})

test('where more is better, a line is flat if its end is not much lower', () => {
  assert.equal(judgeLine(lineWith('higher'), [seriesOf('longhaul', [], [1], [1.3])]).flatness.met, true)
  assert.equal(judgeLine(lineWith('higher'), [seriesOf('longhaul', [], [1.3], [1])]).flatness.met, false)
})

test('what the machine takes at the end of a line, it takes from the second series too, and does not count', () => {
  const control = seriesOf('bare', [1], [1], [2])
  const { flatness } = judgeLine(lineWith('lower'), [seriesOf('longhaul', [1], [1.5], [3.3]), control])
  assert.equal(flatness.against, 'bare')
  assert.ok(Math.abs(flatness.spread.median - 1.1) < 1e-9 && flatness.met)
  assert.equal(judgeLine(lineWith('lower'), [seriesOf('longhaul', [1], [1.5], [4.5]), control]).flatness.met, false)
})

test('a line that could not be measured at its end is not flat', () => {
  assert.equal(judgeLine(lineWith('lower'), [seriesOf('longhaul', [1], [1], [])]).flatness.met, false)
  assert.equal(judgeLine(lineWith('lower'), []).flatness.met, false)
})

test('each contender takes its turn at each point', async () => {
  const series = await takeTurnsAlong(axis, [{ name: 'a' }, { name: 'b' }], 2, async ({ name }, x) => (name === 'a' ? x : -x))
  assert.deepEqual(series, [seriesOf('a', [1, 1], [10, 10], [100, 100]), seriesOf('b', [-1, -1], [-10, -10], [-100, -100])])
})

test('figures have three digits, or all before the point; points and verdicts are words', () => {
  assert.deepEqual([0, 0.012345, 1, 12.345, 999.9, 12345.6, NaN, Infinity].map(formatFigure), [
    '0', '0.0123', '1', '12.3', '1,000', '12,346', '–', '–',
  ])
  assert.deepEqual(
    [formatPoint(100, 'count'), formatPoint(200_000, 'count'), formatPoint(2 ** 20, 'bytes'), formatPoint(2 ** 33, 'bytes')],
    ['100', '200k', '1 MiB', '8 GiB'],
  )
  assert.deepEqual(
    [formatVerdict({ atMost: 2, met: true }), formatVerdict({ atLeast: 1, atMost: 2, met: false }), formatVerdict({ met: undefined })],
    ['at most 2: met', 'at least 1, at most 2: missed', ''],
  )
})

/** A report with all that a chart may have to draw. */
function reportOf(rows: Report['rows'], growth: Report['growth'], shipped: Report['shipped'] = []): Report {
  return {
    date: '2026-01-01',
    node: '20.19.0',
    system: 'Linux 6',
    cpu: 'A & B <C>',
    cores: 2,
    directory: 'tmpfs',
    rounds: 1,
    quick: false,
    shipped,
    rows,
    growth,
  }
}

const missed = judge(
  rowWith({ against: 'zero', atMost: 1 }, { against: 'a&b', atMost: 0.5 }, { atMost: 1 }),
  new Map([
    ['longhaul', [2]],
    ['zero', [0]],
    ['a&b', [3]],
    ['lost', [NaN]],
  ]),
)
const steep = judgeLine(lineWith('lower'), [seriesOf('longhaul', [1], [1], [2])])

test('each target that was missed is named, and nothing else is', () => {
  const met = judge(rowWith({ atMost: 1 }), new Map([['longhaul', [1]]]))
  const shipped = judge({ ...rowWith({ atMost: 1 }), name: 'shipped-row' }, new Map([['longhaul', [2]]]))
  const names = missesOf({ shipped: [met, shipped], rows: [missed, met], growth: [steep] }).map((sentence) => sentence.split(' is ')[0])
  assert.deepEqual(names, [
    'shipped-row: longhaul itself', 'row: longhaul / zero', 'row: longhaul / a&b', 'row: longhaul itself', 'line: 100 / 10',
  ])
})

test('a table has a line for each contender and each comparison', () => {
  assert.match(
    rowText(
      judge(
        rowWith({ against: 'other', atMost: 0.5 }),
        new Map([
          ['longhaul', [1]],
          ['other', [4]],
        ]),
      ),
    ),
    /^row: .*\n {2}longhaul {10}1 \(1–1\)\n {2}other {13}4 \(4–4\)\n {2}longhaul \/ other {2}0\.25 \(0\.25–0\.25\) {2}at most 0\.5: met\n$/,
  )
})

test('the chart is well-formed, has words for those who do not see it, and no number that is none', () => {
  for (const report of [
    reportOf([missed], [steep, steep, judgeLine(lineWith('lower'), [])], [missed]),
    reportOf([], []),
    reportOf([missed], []),
    reportOf([], [], [missed]),
  ]) {
    const chart = chartOf(report)
    assertWellFormed(chart)
    assert.match(chart, /^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">[^<]+<\/title>\n<desc id="desc">[^<]*<\/desc>/)
    assert.doesNotMatch(chart, /="[^"]*(?:NaN|Infinity|undefined)/)
  }
})

test('the chart has a section for the program as it ships and one for the library, if there is anything to draw', () => {
  const headings = (report: Report) => Array.from(chartOf(report).matchAll(/<text class="heading"[^>]*>([^<]*)/g), ([, words]) => words)
  const [title] = headings(reportOf([], []))
  assert.deepEqual(headings(reportOf([missed], [], [missed])), [title, 'The program as it ships', 'The library'])
  assert.deepEqual(headings(reportOf([missed], [])), [title, 'The library'])
})

test('the program is run as npm start runs it', () => {
  assert.deepEqual(startCommandOf(ROOT), ['--max-semi-space-size=2', 'dist/cli/main.js'])
})

test('the uploads of a client take turns, and each is asked for over the next connection each time', () => {
  const turns = Array.from({ length: 5 }, (_, asked) => turnOf(asked, 2, 2))
  assert.deepEqual(turns.map(({ upload }) => upload), [0, 1, 0, 1, 0])
  assert.deepEqual(turns.map(({ connection }) => connection), [0, 0, 1, 1, 0])
})

test('a connection is kept after each kind of answer: to HEAD, without a body, with a length, in chunks', async (t) => {
  let connections = 0
  const answers: Record<string, (res: ServerResponse) => void> = {
    '/head': (res) => void res.end(),
    '/length': (res) => void res.end('a body'),
    '/chunks': (res) => {
      res.write('a ')
      res.end('body')
    },
    '/empty': (res) => void res.writeHead(204).end(),
    '/missing': (res) => void res.writeHead(404).end('missing'),
  }
  const server = createServer((req, res) => answers[req.url ?? '']?.(res)).on('connection', () => connections++)
  const port = await listen(t, server)
  const connection = await KeptConnection.open(port)
  t.after(() => connection.close())
  const statuses: number[] = []
  for (const target of ['HEAD /head', 'GET /length', 'GET /chunks', 'DELETE /empty', 'GET /missing', 'HEAD /length']) {
    statuses.push((await connection.ask(`${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)).status)
  }
  assert.deepEqual([statuses, connections], [[200, 200, 200, 204, 404, 200], 1])
})

test('a connection that the server closes rejects the request that waits', async (t) => {
  const port = await listen(t, createServer((req) => req.socket.destroy()))
  const connection = await KeptConnection.open(port)
  await assert.rejects(connection.ask('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), /closed the connection/)
})

test('an answer is complete with the last byte of its body, not before', () => {
  const whole = 'HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok'
  for (let end = 0; end < whole.length; end++) assert.equal(completeHead(whole.slice(0, end), false), undefined)
  assert.equal(completeHead(whole, false), 'HTTP/1.1 201 Created\r\nContent-Length: 2')
  assert.equal(completeHead('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', false), undefined)
  assert.match(completeHead('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', false) ?? '', /chunked$/)
})

test('text is escaped, and what XML does not allow is replaced', () => {
  assert.equal(escapeXml('a & <b> "c" \u0000\ud800 ü \u{1f600}'), 'a &#38; &#60;b&#62; &#34;c&#34; \ufffd\ufffd ü \u{1f600}')
})

/** Tags match, attributes are quoted and come once, and a `<` or `&` is never loose. */
function assertWellFormed(xml: string): void {
  const open: string[] = []
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?:\s+[a-zA-Z][\w-]*="[^"<&]*")*)\s*(\/?)>/g,
    (tag, end: string, name: string, attributes: string, empty: string) => {
      const names = Array.from(attributes.matchAll(/([\w-]+)="/g), ([, attribute]) => attribute)
      assert.equal(new Set(names).size, names.length, tag)
      if (end) assert.equal(open.pop(), name, tag)
      else if (!empty) open.push(name)
      return ''
    },
  )
  assert.deepEqual(open, [])
  assert.doesNotMatch(rest.replace(/&#\d+;/g, ''), /[<&]/)
}
