// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { readPage, type PageOptions } from '../../lib/cli/page.ts'
import { ROOT } from '../support/examples.ts'
import { listen } from '../support/listen.ts'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, type WireResponse } from '../support/wire.ts'

const FOLDER = join(ROOT, 'lib', 'page')
const NAMES = readdirSync(FOLDER).filter((name) => name !== 'tsconfig.json')
const TARGETS = NAMES.map((name) => (name === 'index.html' ? '/' : `/${name}`))
const OPTIONS: PageOptions = { path: '/files/', publicUrl: undefined, maxSize: 1000, download: false }
const TUS = 'Tus-Resumable: 1.0.0'

test('Every file of the page is served, with a type that browsers may not guess at, and with a policy that allows nothing inline', async (t) => {
  const port = await serve(t)
  assert.deepEqual(TARGETS.sort(), ['/', '/memory.js', '/page.css', '/page.js', '/request.js', '/trouble.js', '/upload.js', '/words.js'])
  for (const target of TARGETS) {
    const { status, headers, body } = await get(port, target)
    assert.equal(status, 200)
    assert.equal(
      headers.get('content-type'),
      target === '/' ? 'text/html; charset=utf-8' : target.endsWith('.js') ? 'text/javascript; charset=utf-8' : 'text/css; charset=utf-8',
    )
    assert.equal(
      headers.get('content-security-policy'),
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    )
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('referrer-policy'), 'no-referrer')
    assert.equal(headers.get('cross-origin-opener-policy'), 'same-origin')
    assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin')
    assert.equal(headers.get('cache-control'), 'no-cache')
    assert.equal(headers.get('content-length'), String(Buffer.byteLength(body)))
    if (target !== '/') assert.equal(body, readFileSync(join(FOLDER, target), 'utf8'))
  }
})

test('What a browser has already is not sent again', async (t) => {
  const port = await serve(t)
  for (const target of TARGETS) {
    const { headers, body } = await get(port, target)
    const etag = headers.get('etag') ?? ''
    assert.match(etag, /^"[A-Za-z0-9_-]{43}"$/)
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { status, headers } = await get(port, target, [`If-None-Match: ${known}`])
      assert.equal(status, 304)
      assert.equal(headers.get('etag'), etag)
      assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none';/)
    }
    for (const unknown of ['"other"', etag.slice(1, -1), etag.toLowerCase()]) {
      assert.equal((await get(port, target, [`If-None-Match: ${unknown}`])).body, body)
    }
  }
  const tags = await Promise.all(TARGETS.map(async (target) => (await get(port, target)).headers.get('etag')))
  assert.equal(new Set(tags).size, TARGETS.length)
})

test('HEAD is answered as GET is, without the content', async (t) => {
  const port = await serve(t)
  for (const target of TARGETS) {
    const answers = [await get(port, target), await exchange(port, request(`HEAD ${target}`), { toHead: true })]
    const [ofGet, ofHead] = answers.map(({ status, headers }) => [status, new Map([...headers].filter(([name]) => name !== 'date'))])
    assert.deepEqual(ofHead, ofGet)
  }
})

test('Other methods are refused with 405, and told which there are', async (t) => {
  const port = await serve(t)
  for (const target of TARGETS) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await exchange(port, request(`${method} ${target}`))
      assert.deepEqual([status, headers.get('allow')], [405, 'GET, HEAD'], `${method} ${target}`)
    }
  }
  const held = await exchange(port, request('POST /', ['Expect: 100-continue', 'Content-Length: 1000000']))
  assert.equal(held.status, 405)
  assert.equal(held.headers.get('connection'), 'close')
})

test('Paths are compared as they stand, without their queries, and all else is answered as it is without the page', async (t) => {
  const dir = temporaryFolder(t)
  const withPage = await startProgram(t, ['--dir', dir])
  const without = await startProgram(t, ['--dir', dir, '--no-page'])
  for (const target of ['/?', '/?x=1', '/page.css?v=2#x', 'http://test', 'http://test/', 'http://test/page.js?x']) {
    assert.equal((await get(withPage.port, target)).status, 200, target)
  }
  const elsewhere = [
    '/index.html', '//', '/.', '/page.css/', '/PAGE.CSS', '/%70age.css', '/page.js%00', '/tsconfig.json', '/../page.js', '/favicon.ico',
    '/files', '/files/', '/files/x', '*', '/page.css\\',
  ]
  for (const target of elsewhere) {
    const [one, other] = [await get(withPage.port, target), await get(without.port, target)]
    assert.deepEqual([one.status, one.body], [other.status, other.body], target)
    assert.notEqual(one.status, 200, target)
  }
  for (const target of TARGETS) {
    const { status, body } = await get(without.port, target)
    assert.deepEqual([status, body], [404, 'There is no upload at this address\n'])
  }
})

test('With --path / uploads are created where the page is, and only GET and HEAD are the page', async (t) => {
  const { port } = await startProgram(t, ['--dir', temporaryFolder(t), '--path', '/'])
  const { status, body } = await get(port, '/')
  assert.equal(status, 200)
  assert.equal(setting(body, 'endpoint'), '/')
  assert.equal((await exchange(port, request('HEAD /'), { toHead: true })).headers.get('content-type'), 'text/html; charset=utf-8')
  const created = await exchange(port, request('POST /', [TUS, 'Upload-Length: 1']))
  assert.equal(created.status, 201)
  const head = await exchange(port, request(`HEAD ${created.headers.get('location')}`, [TUS]), { toHead: true })
  assert.equal(head.headers.get('upload-offset'), '0')
  assert.equal((await exchange(port, request('OPTIONS /'))).headers.get('tus-version'), '1.0.0')
  assert.equal((await exchange(port, request('PUT /page.css'))).status, 405)
})

test('The page is told where uploads are created, how large they may be, and whether they can be downloaded', async (t) => {
  const { port } = await startProgram(t, ['--dir', temporaryFolder(t), '--path', '/a/b', '--max-size', '1MiB', '--download'])
  const { body } = await get(port, '/')
  assert.deepEqual(['endpoint', 'max-size', 'download'].map((name) => setting(body, name)), ['/a/b/', '1048576', 'true'])
  assert.doesNotMatch(body, /%[A-Za-z]+%/)

  const elsewhere = await startProgram(t, ['--dir', temporaryFolder(t), '--public-url', 'https://example.com:8443/up'])
  const answer = await get(elsewhere.port, '/')
  assert.deepEqual(
    ['endpoint', 'max-size', 'download'].map((name) => setting(answer.body, name)),
    ['https://example.com:8443/up/', '107374182400', 'false'],
  )
  assert.match(answer.headers.get('content-security-policy') ?? '', /; connect-src 'self' https:\/\/example\.com:8443; /)
})

test('Whatever a public URL may hold is text in the page', async (t) => {
  for (const publicUrl of ["https://example.com/a&lt;b'c/", "/$&/$1$'$`/", '/&quot;><script>/', '/"onload="x"/']) {
    const port = await serve(t, { ...OPTIONS, publicUrl })
    const { body } = await get(port, '/')
    assert.equal(setting(body, 'endpoint'), publicUrl)
    assert.equal((body.match(/<script/g) ?? []).length, 1)
    assert.equal((body.match(/<meta /g) ?? []).length, 6)
  }
})

test('Nothing of a request comes back', async (t) => {
  const port = await serve(t)
  const plain = await get(port, '/')
  const odd = await get(port, '/?<script>canary</script>', [
    'Origin: https://canary.example', 'X-Forwarded-Host: canary', 'Referer: http://canary/', 'Accept-Language: canary', 'Cookie: canary=1',
  ])
  assert.equal(odd.body, plain.body)
  assert.doesNotMatch(JSON.stringify([...odd.headers]), /canary/)
})

test('The HTML has no script, style or handler of its own, and the scripts make no HTML of text', () => {
  const html = readFileSync(join(FOLDER, 'index.html'), 'utf8')
  assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src="[a-z]+\.js")|<script[^>]*>[^<]/i)
  assert.doesNotMatch(html, /\b(?:src|href)="(?!data:,"|[a-z]+\.(?:js|css)")/)
  for (const name of NAMES.filter((each) => each.endsWith('.js'))) {
    const source = readFileSync(join(FOLDER, name), 'utf8')
    assert.doesNotMatch(
      source.replace(/\/\*[^]*?\*\//g, ''),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(|import\(|DOMParser|setHTML|srcdoc|\.cssText|setAttribute\('style/,
      name,
    )
    assert.match(source, /^\/\/ SPDX-License-Identifier: MIT\n\/\/ @ts-check\n/, name)
  }
})

test('The scripts of the page fit their types', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', FOLDER]).catch(
    (error: { stdout: string }) => error,
  )
  assert.equal(stdout, '')
})

test('The page has a clear word for every status that the server answers errors with, and knows which of them pass', async () => {
  const { Trouble } = await import(new URL('../../lib/page/trouble.js', import.meta.url).href)
  const table = readFileSync(join(ROOT, 'lib', 'upload', 'errors.ts'), 'utf8')
  const statuses = new Set(Array.from(table.matchAll(/^ {2}[A-Z_]+: \[(\d{3}), '/gm), ([, status]) => Number(status)))
  assert.ok(statuses.size >= 15)
  const general = /\(\d+\)/ // what is said of a status that has no row
  assert.match(new Trouble(418).message, general)
  const passing = []
  for (const status of statuses) {
    const { message, passes } = new Trouble(status)
    assert.doesNotMatch(message, general, `${status} must have a row`)
    assert.match(message, passes ? /^[A-Z][^.]+$/ : /^[A-Z].*\.$/) // the one goes on with what is safe
    if (passes) passing.push(status)
  }
  assert.deepEqual(passing.sort(), [408, 409, 423, 460, 500, 503])
  for (const status of [0, 425, 429, 502, 504, 520, 599]) assert.equal(new Trouble(status).passes, true, String(status))
  for (const status of [300, 400, 401, 402, 418, 451, 501, 505, 507]) assert.equal(new Trouble(status).passes, false, String(status))
})

test('Text and its background differ enough to be read, in the light and in the dark', () => {
  const css = readFileSync(join(FOLDER, 'page.css'), 'utf8')
  const schemes = Array.from(
    css.matchAll(/:root \{([^}]*)\}/g),
    ([, block = '']) =>
      new Map(Array.from(block.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g), ([, name = '', colour = '']) => [name, colour])),
  )
  assert.equal(schemes.length, 2)
  for (const colours of schemes) {
    const contrast = (one: string, other: string): number => contrastOf(colours.get(one) ?? '', colours.get(other) ?? '')
    for (const background of ['background', 'surface']) {
      for (const text of ['text', 'quiet', 'accent', 'error']) {
        assert.ok(contrast(text, background) >= 4.5, `${text} on ${background}: ${contrast(text, background)}`)
      }
    }
    assert.ok(contrast('accent-text', 'accent') >= 4.5)
    assert.ok(contrast('accent', 'track') >= 3, 'what is safe must stand out from what is not')
  }
})

test('A page that cannot be read is one line on stderr that tells the way out, and exit code 2', async (t) => {
  const root = temporaryFolder(t)
  cpSync(join(ROOT, 'lib'), join(root, 'lib'), { recursive: true, filter: (path) => path !== FOLDER })
  cpSync(join(ROOT, 'package.json'), join(root, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  const start = (...args: string[]) => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', join(root, 'lib', 'cli', 'main.ts'), '--port', '0', '--dir', join(root, 'uploads'), ...args],
      { cwd: root },
    )
    t.after(() => child.kill('SIGKILL'))
    return child
  }
  const refused = start()
  let stderr = ''
  refused.stderr.on('data', (chunk) => (stderr += chunk))
  assert.deepEqual(await once(refused, 'close'), [2, null])
  assert.match(stderr, /^longhaul: cannot read the upload page: ENOENT[^\n]*lib\/page\/index\.html' \(--no-page serves without it\)\n$/)
  assert.deepEqual(readdirSync(root).includes('uploads'), false)
  const [line] = await once(start('--no-page').stdout, 'data')
  assert.match(String(line), /^longhaul listening/)
})

/** Serves the page alone. */
async function serve(t: TestContext, options: PageOptions = OPTIONS): Promise<number> {
  const page = readPage(options)
  const server = createServer((req, res) => void page(req, res)).on('checkContinue', (req, res) => void page(req, res))
  return listen(t, server)
}

function get(port: number, target: string, headers: readonly string[] = []): Promise<WireResponse> {
  return exchange(port, request(`GET ${target}`, headers))
}

/** What a browser would read there. */
function setting(html: string, name: string): string {
  const [, value = assert.fail(`${name} is not in the page`)] =
    new RegExp(`<meta name="longhaul-${name}" content="([^"]*)">`).exec(html) ?? []
  return value.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
}

/** Web Content Accessibility Guidelines 2.2, "contrast ratio". */
function contrastOf(one: string, other: string): number {
  const [darker, lighter] = [luminanceOf(one), luminanceOf(other)].sort((a, b) => a - b) as [number, number]
  return (lighter + 0.05) / (darker + 0.05)
}

/** The same, "relative luminance". */
function luminanceOf(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const share = parseInt(colour.slice(at, at + 2), 16) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
