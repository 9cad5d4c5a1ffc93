// SPDX-License-Identifier: MIT

/** Checklist T57: the addresses of uploads, those that are given out and those that come back. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileStore } from '../../lib/file-store/file-store.ts'
import type { UploadRequest } from '../../lib/upload/hooks.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { idAt, locationOf, toAddresses } from '../../lib/http/location.ts'
import { addressOf } from '../support/address-of.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request } from '../support/wire.ts'
import { concatenate, makePartial } from './steps.ts'
import { ask, head, serve, V, type Site } from './support.ts'

const CREATION = ['Upload-Length: 10', 'Content-Length: 0']

/** The Location of an upload that is created with some more headers, its id replaced. */
async function locationWith(site: Site, headers: readonly string[]): Promise<string> {
  const location = addressOf(await ask(site, request('POST /files/', [V, ...CREATION, ...headers])))
  return location.replace(/[\da-f]{32}$/, 'ID')
}

/** A request as far as addresses are concerned. */
function requestOf(headers: Readonly<Record<string, string>>, remoteAddress?: string): UploadRequest {
  return { headers, socket: { remoteAddress } } as unknown as UploadRequest
}

test('T57 · Location is a path, and forwarded headers are ignored as long as no proxy is trusted', async (t) => {
  const site = await serve(t)
  const rows = [
    [], ['X-Forwarded-Proto: https', 'X-Forwarded-Host: up.example'], ['Forwarded: proto=https;host=up.example'],
    ['X-Forwarded-Host: up.example'],
    ['X-Original-URL: /evil/', 'X-Rewrite-URL: /evil/', 'X-Forwarded-Prefix: /evil/'],
  ]
  for (const headers of rows) assert.equal(await locationWith(site, headers), '/files/ID')
})

test('T57 · a Host that is hostile is never echoed; HTTP/1.0 needs none; HTTP/1.1 without one is 400', async (t) => {
  const site = await serve(t)
  for (const host of ['evil"><x', 'evil.example', 'evil.example/path', 'a b', '']) {
    const answer = await exchange(site.port, ['POST /files/ HTTP/1.1', `Host: ${host}`, V, ...CREATION, '', ''].join('\r\n'))
    assert.equal(answer.status, 201)
    assert.match(answer.headers.get('location') ?? '', /^\/files\/[\da-f]{32}$/)
    assert.doesNotMatch([...answer.headers.values(), answer.body].join('\n'), /evil/)
  }
  const old = await exchange(site.port, ['POST /files/ HTTP/1.0', V, ...CREATION, '', ''].join('\r\n'))
  assert.equal(old.status, 201)
  assert.match(old.headers.get('location') ?? '', /^\/files\/[\da-f]{32}$/)
  const before = snapshot(site.folder)
  assert.equal((await exchange(site.port, ['POST /files/ HTTP/1.1', V, ...CREATION, '', ''].join('\r\n'))).status, 400)
  assert.deepEqual(snapshot(site.folder), before)
})

const publicUrls: readonly (readonly [publicUrl: string, location: string])[] = [
  ['https://up.example/api/files/', 'https://up.example/api/files/ID'],
  ['http://up.example:8080/', 'http://up.example:8080/ID'],
  ['https://[2001:db8::1]:8443/files/', 'https://[2001:db8::1]:8443/files/ID'],
  ['/api/files/', '/api/files/ID'],
  ['/', '/ID'],
]

for (const [publicUrl, location] of publicUrls) {
  test(`T57 · with the publicUrl ${publicUrl} Location is ${location}, whatever the client says, and requests still come to path`, async (t) => {
    const site = await serve(t, { publicUrl })
    for (const headers of [[], ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: http'], ['Forwarded: host=evil.example']]) {
      assert.equal(await locationWith(site, headers), location)
    }
    const id = addressOf(await ask(site, request('POST /files/', [V, ...CREATION]))).slice(-32)
    assert.equal((await head(site, `/files/${id}`)).status, 200)
  })
}

const believed: readonly (readonly [headers: readonly string[], location: string])[] = [
  [['X-Forwarded-Proto: https', 'X-Forwarded-Host: up.example'], 'https://up.example/files/ID'],
  [['X-Forwarded-Host: up.example'], 'http://up.example/files/ID'],
  [['X-Forwarded-Host: up.example:8443', 'X-Forwarded-Proto: https'], 'https://up.example:8443/files/ID'],
  [['Forwarded: proto=https;host=up.example'], 'https://up.example/files/ID'],
  [['Forwarded: for=192.0.2.1;Host="up.example:8443";PROTO=https;by=203.0.113.1'], 'https://up.example:8443/files/ID'],
  [['Forwarded: host="[2001:db8::1]:8443"; proto=https'], 'https://[2001:db8::1]:8443/files/ID'],
  [['Forwarded: host=evil.example;proto=http, host=up.example;proto=https'], 'https://up.example/files/ID'],
  [['Forwarded: host=evil.example', 'Forwarded: host=up.example;proto=https'], 'https://up.example/files/ID'],
  [['X-Forwarded-Host: evil.example, up.example', 'X-Forwarded-Proto: http,https'], 'https://up.example/files/ID'],
  [['X-Forwarded-Host: evil.example', 'X-Forwarded-Host: up.example'], 'http://up.example/files/ID'],
  [['X-Forwarded-Proto: https'], '/files/ID'],
  [['Forwarded: host=up.example', 'X-Forwarded-Host: up.example'], 'http://up.example/files/ID'],
  [['Forwarded: host=evil.example', 'X-Forwarded-Host: up.example'], '/files/ID'],
  [['Forwarded: host=up.example', 'X-Forwarded-Host: evil.example'], '/files/ID'],
  [[], '/files/ID'],
]

for (const [headers, location] of believed) {
  test(`T57 · a proxy that is trusted is believed: ${headers.join(' and ') || 'nothing'} makes ${location}`, async (t) => {
    for (const proxy of ['127.0.0.1', '127.0.0.0/8', '0.0.0.0/0']) {
      const site = await serve(t, { trustedProxies: ['2001:db8::/32', proxy] })
      assert.equal(await locationWith(site, headers), location)
    }
  })

  test(`T57 · a proxy that is not trusted is not believed: ${headers.join(' and ') || 'nothing'} makes a path`, async (t) => {
    const site = await serve(t, { trustedProxies: ['192.0.2.1', '10.0.0.0/8', '::1', '2001:db8::/32', '127.0.0.2'] })
    assert.equal(await locationWith(site, headers), '/files/ID')
  })
}

test('T57 · with a path as publicUrl, a proxy that is trusted says the origin', async (t) => {
  const site = await serve(t, { publicUrl: '/api/files/', trustedProxies: ['127.0.0.1'] })
  assert.equal(await locationWith(site, ['X-Forwarded-Proto: https', 'X-Forwarded-Host: up.example']), 'https://up.example/api/files/ID')
})

test('T57 · what a trusted proxy passes on and is no host or scheme is not echoed', async (t) => {
  const site = await serve(t, { trustedProxies: ['127.0.0.1'] })
  const hosts = [
    'evil"><x', 'evil.example/path', 'user@evil.example', 'a b', '', '/', '?', '#', 'evil.example?', 'evil.example#', 'evil.example:x',
    'evil.example:123456', ':80', '.',
    '-evil', '[::1', '::1', '[evil]', 'é.example', 'evil.example\\', '%65vil.example', 'evil.example:', `${'a'.repeat(254)}`, '<script>',
    "evil'",
  ]
  for (const host of hosts) {
    assert.equal(await locationWith(site, [`X-Forwarded-Host: ${host}`]), '/files/ID', host)
    assert.equal(await locationWith(site, [`Forwarded: host="${host}"`]), '/files/ID', host)
  }
  for (const scheme of ['javascript', 'ftp', 'https:', 'https://evil.example/', 'http s', 'HTTPS', '"']) {
    assert.equal(await locationWith(site, [`X-Forwarded-Proto: ${scheme}`, 'X-Forwarded-Host: up.example']), '/files/ID', scheme)
    assert.equal(await locationWith(site, [`Forwarded: host=up.example;proto=${scheme}`]), '/files/ID', scheme)
  }
})

test('T57 · proxies are known by the address they connect from, in either notation; a socket without one is trusted by nobody', () => {
  const forwarded = { 'x-forwarded-host': 'up.example' }
  const rows: readonly (readonly [trusted: string, peer: string | undefined, believed: boolean])[] = [
    ['127.0.0.1', '127.0.0.1', true], ['127.0.0.1', '::ffff:127.0.0.1', true], ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false], ['127.0.0.1', '::ffff:127.0.0.2', false], ['::1', '::1', true], ['::1', '::2', false],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:db8::/32', '2001:db9::1', false], ['10.0.0.1/32', '10.0.0.1', true], ['10.0.0.1/32', '10.0.0.2', false],
    ['0.0.0.0/0', undefined, false],
    ['0.0.0.0/0', '::1', false],
  ]
  for (const [trusted, peer, isBelieved] of rows) {
    const location = locationOf(toAddresses('/files/', undefined, [trusted]), requestOf(forwarded, peer), 'ID')
    assert.equal(location, isBelieved ? 'http://up.example/files/ID' : '/files/ID', `${peer} where ${trusted} is trusted`)
  }
})

for (const publicUrl of [
  '', 'files', 'files/', '/files', 'https://up.example', 'https://up.example/files', '//up.example/files/', 'ftp://up.example/files/',
  'https://user@up.example/files/',
  'https://up.example/files/?x', 'https://up.example/files/#x', 'https:///files/', 'https://up example/files/',
  'https://up.example//files/', 'https://up.example/a b/',
  'https://up.example/\r\nX: y/', 'https://up.example:x/', 'javascript:alert(1)/', 'https://é.example/',
]) {
  test(`the publicUrl ${JSON.stringify(publicUrl)} is a TypeError`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, publicUrl }), { name: 'TypeError', message: /publicUrl must be .*: received / })
  })
}

for (const entry of [
  '', 'localhost', 'proxy.example', '10.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/9', '10.0.0.0/8.0', '10.0.0.0/x',
  '::/129', '*', '10.0.0.*',
  '127.0.0.1:80', '[::1]', ' 127.0.0.1', '127.0.0.1 ', '1e1.0.0.1',
]) {
  test(`the trusted proxy ${JSON.stringify(entry)} is a TypeError`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, trustedProxies: ['127.0.0.1', entry] }), {
      name: 'TypeError',
      message: /^Cannot trust a proxy .*: received /,
    })
  })
}

/** Where uploads are, whom the request came to, an address that a client names, and the id there. */
const named: readonly (readonly [publicUrl: string | undefined, host: string, address: string, id: string | undefined])[] = [
  [undefined, 'test', '/files/x', 'x'],
  [undefined, 'test', 'http://test/files/x', 'x'],
  [undefined, 'test', 'https://test/files/x', 'x'],
  [undefined, 'test', 'HTTP://TEST/files/x', 'x'],
  [undefined, 'test', 'http://test:80/files/x', 'x'],
  [undefined, 'test:80', 'http://test/files/x', 'x'],
  [undefined, 'test:443', 'https://test/files/x', 'x'],
  [undefined, 'test:1080', 'http://test:1080/files/x', 'x'],
  [undefined, '[::1]:1080', 'http://[::1]:1080/files/x', 'x'],
  [undefined, 'test:1080', 'http://test/files/x', undefined],
  [undefined, 'test', 'http://test:1080/files/x', undefined],
  [undefined, 'test', 'http://other/files/x', undefined],
  [undefined, 'test', 'http://other/files/x?y', undefined],
  [undefined, 'test', 'http://other/files/x#y', undefined],
  [undefined, 'test', 'http://user@test/files/x', undefined],
  [undefined, 'test', 'http://test@other/files/x', undefined],
  [undefined, 'test', '//test/files/x', undefined],
  [undefined, 'test', 'ftp://test/files/x', undefined],
  [undefined, 'test', 'files/x', undefined],
  [undefined, 'test', 'x', undefined],
  [undefined, 'test', '/files/', undefined],
  [undefined, 'test', '/elsewhere/x', undefined],
  [undefined, 'test', '/files/%78', undefined],
  [undefined, 'test', '/files/../files/x', undefined],
  [undefined, 'test', '/files/x/y', undefined],
  [undefined, 'test', '', undefined],
  ['https://up.example/api/', 'inner', 'https://up.example/api/x', 'x'],
  ['https://up.example/api/', 'inner', 'https://up.example/files/x', 'x'],
  ['https://up.example/api/', 'inner', 'http://inner/files/x', 'x'],
  ['https://up.example/api/', 'inner', '/api/x', 'x'],
  ['https://up.example/api/', 'inner', '/files/x', 'x'],
  ['https://up.example/api/', 'inner', 'https://other.example/api/x', undefined],
  ['https://up.example/api/', 'inner', '/other/x', undefined],
  ['/api/', 'inner', '/api/x', 'x'],
  ['/api/', 'inner', 'http://inner/api/x', 'x'],
]

for (const [publicUrl, host, address, id] of named) {
  const where = publicUrl === undefined ? '' : `, where uploads are at ${publicUrl},`
  test(`T123, T133 · to a request for ${host}${where} the address ${JSON.stringify(address)} names ${id === undefined ? 'nothing' : 'an upload'}`, () => {
    assert.equal(idAt(toAddresses('/files/', publicUrl, []), requestOf({ host }, '127.0.0.1'), address), id)
  })
}

test('T123 · an upload may be named by the origin that a trusted proxy says, and not by one that anybody else does', () => {
  const request = requestOf({ 'host': 'inner', 'x-forwarded-host': 'up.example', 'x-forwarded-proto': 'https' }, '127.0.0.1')
  assert.equal(idAt(toAddresses('/files/', undefined, ['127.0.0.1']), request, 'https://up.example/files/x'), 'x')
  assert.equal(idAt(toAddresses('/files/', undefined, []), request, 'https://up.example/files/x'), undefined)
})

test('T123 · over HTTP/2 the host of a request is its :authority', () => {
  const addresses = toAddresses('/files/', undefined, [])
  const request = requestOf({ ':authority': 'test:1080', 'host': 'other' }, '127.0.0.1')
  assert.equal(idAt(addresses, request, 'https://test:1080/files/x'), 'x')
  assert.equal(idAt(addresses, request, 'https://other/files/x'), undefined)
})

for (const options of [{}, { publicUrl: 'https://up.example/api/' }, { publicUrl: '/api/' }, { trustedProxies: ['127.0.0.1'] }]) {
  test(`every Location that is given out with ${JSON.stringify(options)} can be named in a concatenation`, async (t) => {
    const site = await serve(t, options)
    const parts = [await makePartial(site, 'hello'), await makePartial(site, ' world')]
    const final = addressOf(await concatenate(site, parts))
    assert.equal(contentOf(site, `/files/${final.slice(-32)}`).toString(), 'hello world')
  })
}

test('whatever a client names, idAt returns an id that may be looked for, or nothing', () => {
  const addresses = toAddresses('/files/', 'https://up.example/api/', ['127.0.0.1'])
  const near = fc.string({
    unit: fc.constantFrom(
      'http://',
      'https://',
      'test',
      'up.example',
      '/',
      '/files/',
      '/api/',
      'x',
      '..',
      '%2e',
      '?',
      '#',
      '@',
      ':',
      ' ',
      '\\',
      'é',
      '\0',
    ),
  })
  let found = 0
  fc.assert(
    fc.property(fc.oneof(near, fc.string({ unit: 'binary' }), near.map((text) => `/files/${text}`)), (address) => {
      const id = idAt(addresses, requestOf({ host: 'test', 'x-forwarded-host': 'test' }, '127.0.0.1'), address)
      if (id === undefined) return
      found++
      assert.match(id, /^[A-Za-z0-9_-]{1,128}$/)
      assert.match(address, /^(?:https?:\/\/(?:test|up\.example)(?::(?:80|443))?)?\/(?:files|api)\/[\w-]+(?:[?#]|$)/i)
    }),
    { numRuns: 5000 },
  )
  assert.ok(found > 0, 'some of the addresses were of uploads')
})
