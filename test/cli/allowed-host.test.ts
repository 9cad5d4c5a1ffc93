// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hostCheck, parseHost, type AllowedHostOptions } from '../../lib/cli/allowed-host.ts'
import { filesIn } from '../support/files.ts'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, WireClient } from '../support/wire.ts'

const OPTIONS: AllowedHostOptions = { host: '127.0.0.1', publicUrl: undefined, allowedHosts: [] }
const TUS = 'Tus-Resumable: 1.0.0'

for (const [host, options] of [
  ['localhost', {}], ['localhost:1080', {}], ['LOCALHOST', {}], ['localhost.', {}], ['app.localhost:80', {}], ['a.b.localhost', {}],
  ['127.0.0.1', {}], ['127.0.0.1:1080', {}], ['127.8.9.10', {}], ['[::1]', {}], ['[::1]:1080', {}], ['[0:0:0:0:0:0:0:1]', {}],
  ['192.168.1.20:1080', {}], ['[fe80::1]', {}], ['[::ffff:127.0.0.1]', {}],
  ['files.lan', { host: 'files.lan' }], ['Files.LAN:1080', { host: 'files.lan' }], ['files.lan.', { host: 'FILES.lan' }],
  ['example.com', { publicUrl: 'https://example.com/up/' }], ['example.com:8443', { publicUrl: 'https://EXAMPLE.com:443/' }],
  ['a.example', { allowedHosts: ['b.example', 'a.example'] }], ['A.example:', { allowedHosts: ['a.Example.'] }],
  ['my_service', { allowedHosts: ['my_service'] }],
  ['evil.example', { allowedHosts: ['a.example', '*'] }], ['evil example', { allowedHosts: ['*'] }],
] as const) {
  test(`a request for ${host} is served with ${JSON.stringify(options)}`, () => assert.equal(statusOf(host, options), undefined))
}

for (const [host, options] of [
  ['evil.example', {}], ['evil.example:1080', {}], ['localhost.evil.example', {}], ['xlocalhost', {}], ['127.0.0.1.evil.example', {}],
  ['127.0.0.1.nip.io', {}], ['127.1', {}], ['0x7f000001', {}], ['2130706433', {}], ['127.0.0.256', {}],
  ['evil.files.lan', { host: 'files.lan' }], ['files.lan.evil.example', { host: 'files.lan' }],
  ['example.com', { publicUrl: '/up/' }], ['up', { publicUrl: '/up/' }], ['a.example.com', { publicUrl: 'https://example.com/' }],
  ['https', { publicUrl: 'https://example.com/' }],
  ['c.example', { allowedHosts: ['a.example', 'b.example'] }], ['x.a.example', { allowedHosts: ['a.example'] }],
] as const) {
  test(`a request for ${host} is refused with 421 with ${JSON.stringify(options)}`, () => assert.equal(statusOf(host, options), 421))
}

for (const host of [
  '', ' ', '.', ':80', 'localhost:x', 'localhost:80:80', 'localhost:-1', 'localhost:123456', 'localhost/', 'localhost@evil.example',
  'evil.example@localhost',
  'localhost,evil.example', 'localhost, localhost', 'local host', '[::1', '::1', '[::1]x', '[]', '[127.0.0.1]', '[::1%lo]', '[::1%25lo]',
  'localhost%00', 'localhost\t', 'é.example', '*', `${'a'.repeat(300)}.localhost`,
]) {
  test(`a request for ${JSON.stringify(host).slice(0, 40)} is refused with 400`, () => assert.equal(statusOf(host), 400))
}

test('the host of a target wins over the Host header, as HTTP has it', () => {
  assert.equal(answerTo('http://evil.example/', ['Host', 'localhost'])?.status, 421)
  assert.equal(answerTo('HTTPS://evil.example', ['Host', 'localhost'])?.status, 421)
  assert.equal(answerTo('ws://evil.example:80?x', ['Host', 'localhost'])?.status, 421)
  assert.equal(answerTo('http://localhost/', ['Host', 'evil.example']), undefined)
  assert.equal(answerTo('http://localhost@evil.example/', ['Host', 'localhost'])?.status, 400)
  assert.equal(answerTo('http://localhost\\@evil.example/', ['Host', 'localhost'])?.status, 400)
  assert.equal(answerTo('http:///files/', ['Host', 'localhost'])?.status, 400)
  assert.equal(answerTo('//evil.example/', ['Host', 'localhost']), undefined) // a path
  assert.equal(answerTo('/http://evil.example/', ['Host', 'localhost']), undefined)
  assert.equal(answerTo('*', ['Host', 'localhost']), undefined)
})

test('a host that is given twice is malformed, even if both are the same', () => {
  assert.equal(answerTo('/', ['Host', 'localhost', 'host', 'localhost'])?.status, 400)
  assert.equal(answerTo('/', ['Host', 'localhost', 'X', 'y', 'HOST', 'evil.example'])?.status, 400)
  assert.equal(answerTo('http://localhost/', ['Host', 'localhost', 'Host', 'localhost'])?.status, 400)
})

test('no other header says which host is meant', () => {
  for (const name of ['X-Forwarded-Host', 'Forwarded', 'X-Host', 'Origin', ':authority']) {
    assert.equal(answerTo('/', ['Host', 'evil.example', name, 'localhost'])?.status, 421)
    assert.equal(answerTo('/', ['Host', 'localhost', name, 'evil.example']), undefined)
  }
  assert.equal(answerTo('/', ['X', 'host', 'evil.example', 'x']), undefined) // a value and a name
})

test('a request without a host, as HTTP/1.0 has it, is served', () => {
  assert.equal(answerTo('/', []), undefined)
  assert.equal(answerTo('http://evil.example/', [])?.status, 421)
})

test('whatever is sent as a host, it is refused unless it is an address or a name that is allowed', () => {
  const part = fc.constantFrom(
    'localhost',
    '.localhost',
    'a.example',
    'evil',
    '.',
    ':',
    '80',
    '[',
    ']',
    '::1',
    '127.0.0.1',
    '@',
    '/',
    '\\',
    ' ',
    '%',
    '*',
    'é',
  )
  const text = fc.oneof(
    fc.array(part, { maxLength: 5 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary' }),
    fc.domain(),
    fc.ipV4(),
    fc.ipV6().map((address) => `[${address}]`),
  )
  const safe = /^(?:(?:[a-z0-9_-][a-z0-9._-]*\.)?localhost\.?|a\.example\.?|\d+\.\d+\.\d+\.\d+\.?|\[[0-9a-f:.]+\])(?::\d*)?$/i
  fc.assert(fc.property(text, (host) => {
    const status = statusOf(host, { allowedHosts: ['a.example'] })
    if (status === undefined) assert.match(host, safe)
    assert.equal(status === 400, parseHost(host) === undefined)
  }))
})

test('a host is read as it was written, without port, brackets and final dot, in lower case', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,30}[A-Za-z0-9]$/)
  const port = fc.oneof(fc.constant(''), fc.nat(65535).map((number) => `:${number}`))
  fc.assert(fc.property(name, port, fc.constantFrom('', '.'), (host, colonPort, dot) => {
    assert.equal(parseHost(`${host}${dot}${colonPort}`), host.toLowerCase())
  }))
  fc.assert(fc.property(fc.ipV6(), port, (address, colonPort) => {
    assert.equal(parseHost(`[${address}]${colonPort}`), address.toLowerCase())
  }))
})

test('the program refuses a page of another name, its uploads and its body, before anything is stored', async (t) => {
  const dir = temporaryFolder(t)
  const { port } = await startProgram(t, ['--dir', dir])
  const create = (target: string, host: string, ...more: string[]): string =>
    [`POST ${target} HTTP/1.1`, ...(host === '' ? [] : [`Host: ${host}`]), TUS, 'Upload-Length: 5', ...more, '', ''].join('\r\n')
  for (const text of [
    create('/files/', 'evil.example'),
    create('/files/', `evil.example:${port}`),
    create('/files/', 'evil.example', 'X-Forwarded-Host: localhost'),
    create('/files/', 'evil.example', 'Content-Type: application/offset+octet-stream', 'Content-Length: 5', 'Expect: 100-continue'),
    create('/files/', 'evil.example', 'Content-Type: application/offset+octet-stream', 'Content-Length: 5000000'),
    create('http://evil.example/files/', 'localhost'),
    'GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n',
    'GET http://evil.example/ HTTP/1.0\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n',
  ]) {
    const { status, headers, body } = await exchange(port, text)
    assert.equal(status, 421, text)
    assert.match(body, /^[^\n]*--allowed-host\n$/)
    assert.equal(headers.get('content-type'), 'text/plain; charset=utf-8')
    for (const name of ['access-control-allow-origin', 'tus-resumable', 'location']) assert.equal(headers.get(name), undefined)
  }
  assert.equal((await exchange(port, create('/files/', 'localhost', 'Host: localhost'))).status, 400)
  assert.deepEqual(filesIn(dir), [])

  for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]', 'app.localhost']) {
    assert.equal((await exchange(port, create('/files/', host))).status, 201, host)
  }
  assert.equal((await exchange(port, 'GET / HTTP/1.0\r\n\r\n')).status, 200)
})

test('a client that is sending a large body to another host gets its 421, and no reset', async (t) => {
  const { port } = await startProgram(t, ['--dir', temporaryFolder(t)])
  const client = await WireClient.connect(port)
  await client.send(`POST /files/ HTTP/1.1\r\nHost: evil.example\r\n${TUS}\r\nContent-Length: 8000000\r\n\r\n`)
  await client.send(Buffer.alloc(8_000_000))
  const { status, headers } = await client.response()
  assert.deepEqual([status, headers.get('connection')], [421, 'close'])
  assert.equal(await client.closed(), '')
})

test('--allowed-host adds names, --public-url that of its own, and * every name', async (t) => {
  const statuses = async (...flags: string[]): Promise<number[]> => {
    const { port } = await startProgram(t, ['--dir', temporaryFolder(t), ...flags])
    return Promise.all(
      ['a.example', 'b.example:8080', 'c.example'].map(
        async (host) => (await exchange(port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status,
      ),
    )
  }
  assert.deepEqual(await statuses('--allowed-host', 'a.example', '--allowed-host=B.example'), [200, 200, 421])
  assert.deepEqual(await statuses('--public-url', 'https://c.example/up'), [421, 421, 200])
  assert.deepEqual(await statuses('--allowed-host', '*'), [200, 200, 200])
})

function statusOf(host: string, options: Partial<AllowedHostOptions> = {}): number | undefined {
  return answerTo('/files/', ['Host', host], options)?.status
}

function answerTo(url: string, rawHeaders: string[], options: Partial<AllowedHostOptions> = {}) {
  return hostCheck({ ...OPTIONS, ...options })({ url, rawHeaders })
}
