// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as httpRequest, STATUS_CODES, ServerResponse, type IncomingMessage } from 'node:http'
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import { sendInterim, type InterimResponse } from '../lib/interim-response.ts'
import { listen } from './support/listen.ts'
import { request, WireClient } from './support/wire.ts'

/** A broken guarantee often shows as an event that never comes. */
const LIMIT = { timeout: 30_000 }
const PROGRESS: InterimResponse = { status: 104, headers: { 'Upload-Offset': 5 } }
/** So long that a client which reads nothing has its buffers full after a few hundred. */
const LONG: InterimResponse = { status: 104, headers: { 'X-Long': 'x'.repeat(8000) } }
const REASON = STATUS_CODES[104] ?? 'unknown'
const PROGRESS_TEXT = `HTTP/1.1 104 ${REASON}\r\nUpload-Offset: 5\r\n\r\n`
const FINAL_TEXT = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\ndone\n'

/** Node's own method, where there is one; and what takes its place on every Node. */
type Way = 'res.writeInformation' | 'res._writeRaw'
const WAYS: readonly Way[] = 'writeInformation' in ServerResponse.prototype ? ['res.writeInformation', 'res._writeRaw'] : ['res._writeRaw']

for (const way of WAYS) {
  describe(`sendInterim over HTTP/1.1, by ${way}`, () => {
    const send = (req: IncomingMessage, res: ServerResponse, response: InterimResponse): boolean => sendBy(way, req, res, response)

    test('the interim response comes before the final one, byte for byte', LIMIT, async (t) => {
      const text = await transcript(t, (req, res) => {
        assert.equal(send(req, res, PROGRESS), true)
        res.end('done\n')
      })
      assert.equal(text, PROGRESS_TEXT + FINAL_TEXT)
    })

    test('it arrives while the request is still being received', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, request('POST /', ['Content-Length: 10'], '12345'))
      assert.equal(send(req, res, PROGRESS), true)
      const { status, headers } = await client.response()
      assert.deepEqual([status, ...headers], [104, ['upload-offset', '5']])
      await client.send('67890')
      assert.equal((await req.toArray()).join(''), '1234567890')
      res.end()
      assert.equal((await client.response()).status, 200)
    })

    test('it arrives while the request is paused', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, request('POST /', ['Content-Length: 10'], '12345'))
      req.pause()
      assert.equal(send(req, res, PROGRESS), true)
      assert.equal((await client.response()).status, 104)
    })

    test('there may be many, and each has headers of its own', LIMIT, async (t) => {
      const text = await transcript(t, (req, res) => {
        send(req, res, { status: 103, headers: { Link: '</style.css>; rel=preload', 'X-Empty': '' } })
        send(req, res, { status: 102 })
        send(req, res, { status: 199, headers: { 'X-Name': 'caf\xe9' } })
        res.end('done\n')
      })
      const interim = [
        'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Empty: \r\n\r\n',
        'HTTP/1.1 102 Processing\r\n\r\n',
        'HTTP/1.1 199 unknown\r\nX-Name: caf\xe9\r\n\r\n',
      ]
      assert.equal(text, interim.join('') + FINAL_TEXT)
    })

    test('the final response is the one that it would have been', LIMIT, async (t) => {
      const answer = (res: ServerResponse): void => void res.setHeader('X-A', 1).writeHead(202, 'Fine', { 'X-B': 2 }).end('done\n')
      const without = await transcript(t, (_, res) => answer(res))
      const text = await transcript(t, (req, res) => {
        res.setHeader('X-Before', 'kept').removeHeader('X-Before')
        send(req, res, { status: 104, headers: { 'X-A': 'interim' } })
        assert.deepEqual([res.headersSent, res.statusCode, res.getHeaderNames()], [false, 200, []])
        answer(res)
      })
      assert.equal(text, `HTTP/1.1 104 ${REASON}\r\nX-A: interim\r\n\r\n${without}`)
    })

    test('to a pipelined request it comes after the final response to the one before', LIMIT, async (t) => {
      const exchanges = await pipelined(t, 2)
      const [first, second] = exchanges.all
      assert.equal(send(second!.req, second!.res, PROGRESS), true)
      assert.equal(send(first!.req, first!.res, { status: 102 }), true)
      second!.res.end('second')
      first!.res.end('first')
      assert.equal((await exchanges.client.response()).status, 102)
      assert.equal((await exchanges.client.response()).body, 'first')
      assert.equal((await exchanges.client.response()).status, 104)
      assert.equal((await exchanges.client.response()).body, 'second')
    })

    test('to a pipelined request it does not come in the middle of the body before it', LIMIT, async (t) => {
      const { client, all: [first, second] } = await pipelined(t, 2)
      first!.res.writeHead(200, { 'Content-Length': 10 }).write('first')
      assert.equal(send(second!.req, second!.res, PROGRESS), true)
      first!.res.end('first')
      assert.equal((await client.response()).body, 'firstfirst')
      assert.equal((await client.response()).status, 104)
    })

    test('a corked response lets it through when it is uncorked, in order', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, request('GET /'))
      res.cork()
      assert.equal(send(req, res, PROGRESS), true)
      res.write('do')
      res.end('ne')
      res.uncork()
      assert.equal((await client.response()).status, 104)
      assert.equal((await client.response()).status, 200)
    })

    for (const [what, startLine] of [['1.0', 'HTTP/1.0'], ['0.9', 'HTTP/0.9']] as const) {
      test(`it sends nothing to a client of HTTP/${what}`, LIMIT, async (t) => {
        const answer = (sends: boolean) => transcript(t, (req, res) => {
          if (sends) assert.equal(send(req, res, PROGRESS), false)
          res.end('done\n')
        }, `GET / ${startLine}\r\n\r\n`)
        assert.equal(await answer(true), await answer(false))
      })
    }

    for (const [what, answer] of [
      ['writeHead', (res) => res.writeHead(200)],
      ['flushHeaders', (res) => res.flushHeaders()],
      ['write', (res) => res.write('do')],
      ['end', (res) => res.end('done\n')],
    ] as readonly (readonly [string, (res: ServerResponse) => unknown])[]) {
      test(`it sends nothing after res.${what}()`, LIMIT, async (t) => {
        const text = await transcript(t, (req, res) => {
          answer(res)
          assert.equal(send(req, res, PROGRESS), false)
          if (!res.writableEnded) res.end()
        })
        assert.doesNotMatch(text, /104/)
      })
    }

    test('it sends nothing after a response that is finished', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, request('GET /'))
      const finished = once(res, 'finish')
      res.end()
      await finished
      assert.equal(send(req, res, PROGRESS), false)
      assert.equal((await client.response()).status, 200)
      req.socket.end()
      assert.equal(await client.closed(), '')
    })

    for (const [how, leave] of [
      ['closed its connection', (client: WireClient) => client.destroy()],
      ['reset its connection', (client: WireClient) => client.socket.resetAndDestroy()],
    ] as const) {
      test(`it sends nothing to a client that ${how}`, LIMIT, async (t) => {
        const { client, req, res } = await exchangeUnderWay(t, request('GET /'))
        const gone = once(res, 'close')
        leave(client)
        await gone
        assert.equal(send(req, res, PROGRESS), false)
      })

      test(`it returns false, and throws nothing, once it finds out that a client ${how}`, LIMIT, async (t) => {
        const { client, req, res } = await exchangeUnderWay(t, request('POST /', ['Content-Length: 10'], '12345'))
        leave(client)
        await untilRefused(() => send(req, res, PROGRESS))
        assert.equal(send(req, res, PROGRESS), false)
        assert.equal(res.headersSent, false)
      })

      test(`it sends nothing to a pipelined request whose client ${how}`, LIMIT, async (t) => {
        const { client, all: [first, second] } = await pipelined(t, 2)
        const gone = once(first!.res, 'close')
        leave(client)
        await gone
        assert.equal(send(second!.req, second!.res, PROGRESS), false)
        assert.equal(second!.res.writableLength, 0)
      })
    }

    test('it sends nothing on a connection that the server has half-closed', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, request('GET /'))
      const ended = once(req.socket, 'end') // to which Node answers by ending its side
      client.socket.end()
      await ended
      assert.equal(send(req, res, PROGRESS), false)
      assert.equal(await client.closed(), '')
    })

    test('it sends nothing on a response that was destroyed', LIMIT, async (t) => {
      const { client, all } = await pipelined(t, 2)
      for (const { req, res } of all.toReversed()) {
        res.destroy()
        assert.equal(send(req, res, PROGRESS), false)
      }
      assert.equal(await client.closed(), '')
    })

    test('a client that does not read has a bounded number queued for it, and gets the final response', LIMIT, async (t) => {
      const { socket, req, res } = await deafExchange(t)
      let sent = await untilRefused(() => send(req, res, LONG))
      assert.ok(res.writableLength <= res.writableHighWaterMark + 10_000, `${res.writableLength} bytes wait`)
      assert.equal(send(req, res, PROGRESS), false)
      res.end('done\n')

      const client = new WireClient(socket)
      socket.resume()
      for (; sent > 0; sent--) assert.equal((await client.response()).status, 104)
      assert.equal((await client.response()).body, 'done\n')
    })

    test('a client that reads again is sent some again', LIMIT, async (t) => {
      const { socket, req, res } = await deafExchange(t)
      let sent = await untilRefused(() => send(req, res, LONG))
      const client = new WireClient(socket)
      socket.resume()
      while (!send(req, res, PROGRESS)) await turn()
      for (; sent > 0; sent--) await client.response()
      assert.equal((await client.response()).headers.get('upload-offset'), '5')
    })

    test('a pipelined request that waits has a bounded number queued', LIMIT, async (t) => {
      const { client, all: [first, second] } = await pipelined(t, 2)
      let sent = await untilRefused(() => send(second!.req, second!.res, LONG))
      assert.ok(
        sent > 0 && second!.res.writableLength <= second!.res.writableHighWaterMark + 10_000,
        `${second!.res.writableLength} bytes wait`,
      )
      first!.res.end('first')
      second!.res.end('second')
      assert.equal((await client.response()).body, 'first')
      for (; sent > 0; sent--) assert.equal((await client.response()).status, 104)
      assert.equal((await client.response()).body, 'second')
    })

    test('with checkContinue, it may come before and after the 100, and the connection is kept', LIMIT, async (t) => {
      const { client, req, res } = await exchangeUnderWay(t, expectant('POST /'), 'checkContinue')
      assert.equal(send(req, res, { status: 102 }), true)
      res.writeContinue()
      assert.equal(send(req, res, PROGRESS), true)
      for (const status of [102, 100, 104]) assert.equal((await client.response()).status, status)
      await client.send('12345')
      assert.equal((await req.toArray()).join(''), '12345')
      res.end('done\n')
      const { status, headers } = await client.response()
      assert.deepEqual([status, headers.get('connection')], [200, 'keep-alive'])
    })

    for (const status of [100, 104]) {
      test(`with checkContinue, a ${status} does not take the place of res.writeContinue()`, LIMIT, async (t) => {
        const { client, req, res } = await exchangeUnderWay(t, expectant('POST /'), 'checkContinue')
        assert.equal(send(req, res, { status }), true)
        assert.equal((await client.response()).status, status)
        res.writeHead(403).end()
        assert.equal((await client.response()).headers.get('connection'), 'close')
      })
    }

    test("a client of Node's hears of it as 'information'", LIMIT, async (t) => {
      const port = await listen(t, createServer((req, res) => {
        send(req, res, PROGRESS)
        res.end('done\n')
      }))
      const req = httpRequest({ port, host: '127.0.0.1' }).end()
      const [[{ statusCode, headers }], [res]] = await Promise.all([
        once(req, 'information'),
        once(req, 'response') as Promise<[IncomingMessage]>,
      ])
      assert.deepEqual([statusCode, headers], [104, { 'upload-offset': '5' }])
      assert.equal((await res.toArray()).join(''), 'done\n')
    })

    for (const [what, response, expected] of misuse()) {
      test(`${what} is refused, and nothing of it is sent`, LIMIT, async (t) => {
        const text = await transcript(t, (req, res) => {
          assert.throws(() => send(req, res, response), expected)
          res.end('done\n')
        })
        assert.equal(text, FINAL_TEXT)
      })
    }
  })
}

describe('sendInterim over HTTP/2', () => {
  test("the interim responses come before the final one, as 'headers'", LIMIT, async (t) => {
    const { stream, req, res } = await http2Exchange(t)
    const informed = interimOf(stream)
    assert.equal(sendInterim(req, res, { status: 103, headers: { Link: '</style.css>; rel=preload', 'X-Empty': '' } }), true)
    assert.equal(sendInterim(req, res, { status: 102 }), true)
    assert.equal(sendInterim(req, res, { status: 104, headers: { 'Upload-Offset': 5, 'X-Name': 'caf\xe9' } }), true)
    const answered = once(stream, 'response') as Promise<[IncomingHttpHeaders & { ':status'?: number }]>
    res.end('done\n')
    assert.equal((await answered)[0][':status'], 200)
    assert.deepEqual(informed.map((headers) => Object.entries(headers)), [
      [[':status', 103], ['link', '</style.css>; rel=preload'], ['x-empty', '']],
      [[':status', 102]],
      [[':status', 104], ['upload-offset', '5'], ['x-name', 'caf\xe9']],
    ])
    assert.equal((await stream.setEncoding('utf8').toArray()).join(''), 'done\n')
  })

  test('it arrives while the request is still being received', LIMIT, async (t) => {
    const { stream, req, res } = await http2Exchange(t)
    stream.write('12345')
    const informed = once(stream, 'headers')
    assert.equal(sendInterim(req, res, PROGRESS), true)
    assert.equal((await informed)[0]['upload-offset'], '5')
    stream.end('67890')
    assert.equal((await req.toArray()).join(''), '1234567890')
  })

  test('the final response is the one that it would have been', LIMIT, async (t) => {
    const answerWith = async (before: (req: Http2ServerRequest, res: Http2ServerResponse) => void): Promise<unknown> => {
      const { stream, req, res } = await http2Exchange(t)
      res.sendDate = false
      before(req, res)
      const answered = once(stream, 'response')
      res.setHeader('X-A', 1)
      res.writeHead(202, { 'X-B': 2 }).end('done\n')
      return { ...(await answered)[0] }
    }
    const answer = await answerWith((req, res) => {
      sendInterim(req, res, { status: 104, headers: { 'X-A': 'interim' } })
      assert.deepEqual([res.headersSent, res.statusCode, res.getHeaderNames()], [false, 200, []])
    })
    assert.deepEqual(answer, await answerWith(() => {}))
  })

  for (const [what, answer] of [
    ['writeHead', (res) => res.writeHead(200)],
    ['write', (res) => res.write('do')],
    ['end', (res) => res.end('done\n')],
  ] as readonly (readonly [string, (res: Http2ServerResponse) => unknown])[]) {
    test(`it sends nothing after res.${what}()`, LIMIT, async (t) => {
      const { stream, req, res } = await http2Exchange(t)
      const informed = interimOf(stream)
      answer(res)
      assert.equal(sendInterim(req, res, PROGRESS), false)
      if (!res.writableEnded) res.end()
      await stream.resume().toArray()
      assert.deepEqual(informed, [])
    })
  }

  for (const [how, leave] of [
    ['closed its stream', (stream) => stream.close()],
    ['closed its connection', (_, session) => session.destroy()],
    ['reset its connection', (_, session) => (session.socket as Socket).resetAndDestroy()],
  ] as readonly (readonly [string, (stream: ClientHttp2Stream, session: ClientHttp2Session) => unknown])[]) {
    test(`it sends nothing to a client that ${how}`, LIMIT, async (t) => {
      const { stream, session, req, res } = await http2Exchange(t)
      const gone = once(res.stream, 'aborted')
      leave(stream, session)
      await gone
      assert.equal(sendInterim(req, res, PROGRESS), false)
    })

    test(`it returns false, and throws nothing, once it finds out that a client ${how}`, LIMIT, async (t) => {
      const { stream, session, req, res } = await http2Exchange(t)
      leave(stream, session)
      await untilRefused(() => sendInterim(req, res, PROGRESS))
      assert.equal(sendInterim(req, res, PROGRESS), false)
      assert.equal(res.headersSent, false)
    })
  }

  for (const [what, close] of [
    ['stream', (res) => res.stream.destroy()],
    ['stream, politely,', (res) => res.stream.close()],
    ['session', (res) => res.stream.session!.destroy()],
  ] as readonly (readonly [string, (res: Http2ServerResponse) => void])[]) {
    test(`it sends nothing when the server has closed the ${what} itself`, LIMIT, async (t) => {
      const { req, res } = await http2Exchange(t)
      close(res)
      assert.equal(sendInterim(req, res, PROGRESS), false)
    })
  }

  test('a session that is closing still gets it on the streams that it has', LIMIT, async (t) => {
    const { stream, req, res } = await http2Exchange(t)
    const informed = once(stream, 'headers')
    res.stream.session!.close()
    assert.equal(sendInterim(req, res, PROGRESS), true)
    assert.equal((await informed)[0][':status'], 104)
    stream.end()
    res.end()
    await stream.resume().toArray()
  })

  test('100 streams of one connection are sent theirs in the same turn', LIMIT, async (t) => {
    const exchanges: { req: Http2ServerRequest; res: Http2ServerResponse }[] = []
    const server = createHttp2Server((req, res) => void exchanges.push({ req, res }))
    const session = http2Client(t, await listen(t, server))
    const streams = Array.from({ length: 100 }, () => session.request({ ':method': 'POST' }))
    while (exchanges.length < 100) await once(server, 'request')
    const informed = Promise.all(streams.map((stream) => once(stream, 'headers')))
    for (const { req, res } of exchanges) assert.equal(sendInterim(req, res, PROGRESS), true)
    for (const [headers] of await informed) assert.equal(headers[':status'], 104)
  })

  test('a client that does not read has a bounded number queued for it, and is sent some when it reads again', LIMIT, async (t) => {
    const server = createHttp2Server()
    const socket = connectTcp(await listen(t, server), '127.0.0.1').pause()
    t.after(() => socket.destroy())
    const arrived = once(server, 'request')
    socket.write(HTTP2_POST)
    const [req, res] = (await arrived) as [Http2ServerRequest, Http2ServerResponse]
    await untilRefused(() => sendInterim(req, res, LONG))
    assert.ok(res.stream.session!.state.outboundQueueSize! <= 300)
    for (let call = 0; call < 1000; call++) assert.equal(sendInterim(req, res, PROGRESS), false)
    socket.resume()
    while (!sendInterim(req, res, PROGRESS)) await turn()
  })

  test('with checkContinue, it may come before and after the 100', LIMIT, async (t) => {
    const { stream, req, res } = await http2Exchange(t, { expect: '100-continue' }, 'checkContinue')
    const informed = interimOf(stream)
    assert.equal(sendInterim(req, res, { status: 102 }), true)
    res.writeContinue()
    assert.equal(sendInterim(req, res, PROGRESS), true)
    while (informed.length < 3) await once(stream, 'headers')
    assert.deepEqual(informed.map((headers) => headers[':status']), [102, 100, 104])
    stream.end('12345')
    assert.equal((await req.toArray()).join(''), '12345')
    res.end('done\n')
    assert.equal((await stream.setEncoding('utf8').toArray()).join(''), 'done\n')
  })

  for (const [what, response, expected] of misuse()) {
    test(`${what} is refused, and nothing of it is sent`, LIMIT, async (t) => {
      const { stream, req, res } = await http2Exchange(t)
      const informed = interimOf(stream)
      assert.throws(() => sendInterim(req, res, response), expected)
      res.end('done\n')
      assert.equal((await stream.setEncoding('utf8').toArray()).join(''), 'done\n')
      assert.deepEqual(informed, [])
    })
  }
})

test('misuse throws whatever has become of the client', LIMIT, async (t) => {
  const { client, req, res } = await exchangeUnderWay(t, request('GET /'))
  const gone = once(res, 'close')
  client.destroy()
  await gone
  for (const [, response, expected] of misuse()) assert.throws(() => sendInterim(req, res, response), expected)
})

test("Node's own method is used where there is one", LIMIT, async (t) => {
  const { req, res } = await exchangeUnderWay(t, request('GET /'))
  const writeInformation = t.mock.fn()
  Object.defineProperty(res, 'writeInformation', { value: writeInformation })
  assert.equal(sendInterim(req, res, PROGRESS), true)
  assert.deepEqual(writeInformation.mock.calls.map((call) => call.arguments), [[PROGRESS.status, PROGRESS.headers]])
})

test('a socket that is written to by hand does not keep the order, which is why sendInterim does not', LIMIT, async (t) => {
  const { client, all: [first, second] } = await pipelined(t, 2)
  second!.req.socket.write(PROGRESS_TEXT)
  second!.res.end('second')
  first!.res.end('first')
  assert.equal((await client.response()).status, 104)
  assert.equal((await client.response()).body, 'first')
})

/** What an error must look like, for each way of being wrong. */
function misuse(): readonly (readonly [string, InterimResponse, object])[] {
  const because = (received: unknown) => ({
    name: 'RangeError',
    message: `Cannot send an interim response as its status must be 100 or 102 to 199: received ${received}`,
  })
  const headers = (fields: object): InterimResponse => ({ status: 104, headers: fields as Record<string, string> })
  const framing = (name: string): readonly [string, InterimResponse, object] => [
    `a header ${name}`,
    headers({ [name]: 5 }),
    { name: 'TypeError', message: `Cannot send an interim response as its headers must not be about the connection or the content: received ${name}` },
  ]
  return [
    ...[99, 101, 200, 104.5, -104, NaN, Infinity].map((status) => [`a status of ${status}`, { status }, because(status)] as const),
    ['a status that is text', { status: '104\r\nX: y' as unknown as number }, because('104\r\nX: y')],
    ['a status that is missing', {} as InterimResponse, because(undefined)],
    ['a line end in a value', headers({ 'X-A': 'a\r\nX-B: b' }), { code: 'ERR_INVALID_CHAR' }],
    ['a line feed in a value', headers({ 'X-A': 'a\nX-B: b' }), { code: 'ERR_INVALID_CHAR' }],
    ['a line end in a list of values', headers({ 'X-A': ['a', 'b\r\n\r\n'] }), { code: 'ERR_INVALID_CHAR' }],
    ['a NUL in a value', headers({ 'X-A': 'a\0b' }), { code: 'ERR_INVALID_CHAR' }],
    ['a value that is not Latin-1', headers({ 'X-A': '\u010d\u010a' }), { code: 'ERR_INVALID_CHAR' }], // its low bytes are CR LF
    ['a value that is missing', headers({ 'X-A': undefined }), { code: 'ERR_HTTP_INVALID_HEADER_VALUE' }],
    ['a line end in a name', headers({ 'X-A: a\r\nX-B': 'b' }), { code: 'ERR_INVALID_HTTP_TOKEN' }],
    ['a name that is empty', headers({ '': 'a' }), { code: 'ERR_INVALID_HTTP_TOKEN' }],
    ['a pseudo-header', headers({ ':status': 200 }), { code: 'ERR_INVALID_HTTP_TOKEN' }],
    ...['Connection', 'content-length', 'Transfer-Encoding', 'Keep-Alive', 'Upgrade', 'TE'].map(framing),
  ]
}

/** One exchange as the server sees it. */
interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** Hides the method that is not to be used, but not from Node, whose `writeContinue()` uses it. */
function sendBy(way: Way, req: IncomingMessage, res: ServerResponse, response: InterimResponse): boolean {
  if (way === 'res.writeInformation') return sendInterim(req, res, response)
  Object.defineProperty(res, 'writeInformation', { value: undefined, configurable: true })
  try {
    return sendInterim(req, res, response)
  } finally {
    Reflect.deleteProperty(res, 'writeInformation')
  }
}

/** All that a server sends to one request, on a connection that it closes after it. */
async function transcript(
  t: TestContext,
  listener: (req: IncomingMessage, res: ServerResponse) => void,
  text: string = request('GET /', ['Connection: close']),
): Promise<string> {
  let failure: unknown
  const server = createServer((req, res) => {
    res.sendDate = false
    try {
      listener(req, res)
    } catch (error) {
      failure = error
      res.destroy()
    }
  })
  const client = await connect(t, await listen(t, server))
  await client.send(text)
  const received = await client.closed()
  if (failure !== undefined) throw failure
  return received
}

async function exchangeUnderWay(
  t: TestContext,
  text: string,
  event: 'request' | 'checkContinue' = 'request',
): Promise<Exchange & { client: WireClient }> {
  const server = createServer()
  const client = await connect(t, await listen(t, server))
  const arrived = once(server, event)
  await client.send(text)
  const [req, res] = (await arrived) as [IncomingMessage, ServerResponse]
  req.on('error', () => {}) // some clients leave in the middle
  return { client, req, res }
}

/** Requests that came in one packet and are all unanswered. */
async function pipelined(t: TestContext, count: number): Promise<{ client: WireClient; all: readonly Exchange[] }> {
  const all: Exchange[] = []
  const server = createServer((req, res) => void all.push({ req, res }))
  const client = await connect(t, await listen(t, server))
  await client.send(request('GET /').repeat(count))
  while (all.length < count) await once(server, 'request')
  return { client, all }
}

/** A client that has sent its request and reads nothing. */
async function deafExchange(t: TestContext): Promise<Exchange & { socket: Socket }> {
  const server = createServer()
  const socket = connectTcp(await listen(t, server), '127.0.0.1').pause()
  t.after(() => socket.destroy())
  const arrived = once(server, 'request')
  socket.write(request('GET /'))
  const [req, res] = (await arrived) as [IncomingMessage, ServerResponse]
  return { socket, req, res }
}

async function connect(t: TestContext, port: number): Promise<WireClient> {
  const client = await WireClient.connect(port)
  t.after(() => client.destroy())
  return client
}

function expectant(startLine: string): string {
  return request(startLine, ['Content-Length: 5', 'Expect: 100-continue'])
}

/** The preface of a client, empty settings, and the head of `POST /` on stream 1 from HPACK's static table. */
const HTTP2_POST = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from('000000' + '04' + '00' + '00000000', 'hex'),
  Buffer.from('000006' + '01' + '04' + '00000001' + '838684410161', 'hex'),
])

function http2Client(t: TestContext, port: number): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => {})
  t.after(() => session.destroy())
  return session
}

/** A POST whose body is not complete. */
async function http2Exchange(
  t: TestContext,
  headers: Readonly<Record<string, string>> = {},
  event: 'request' | 'checkContinue' = 'request',
): Promise<{
  session: ClientHttp2Session
  stream: ClientHttp2Stream
  req: Http2ServerRequest
  res: Http2ServerResponse
}> {
  const server = createHttp2Server().on('request', () => {}) // without it, the compatibility API is off
  const session = http2Client(t, await listen(t, server))
  const arrived = once(server, event)
  const stream = session.request({ ':method': 'POST', ...headers }).on('error', () => {})
  const [req, res] = (await arrived) as [Http2ServerRequest, Http2ServerResponse]
  req.on('error', () => {})
  return { session, stream, req, res }
}

/** The interim responses as they come. */
function interimOf(stream: ClientHttp2Stream): (IncomingHttpHeaders & { ':status'?: number })[] {
  const all: IncomingHttpHeaders[] = []
  stream.on('headers', (headers) => all.push(headers))
  return all
}

/** Sends one a turn until one is not sent; with how many were. */
async function untilRefused(send: () => boolean): Promise<number> {
  for (let sent = 0; sent < 10_000; sent++) {
    if (!send()) return sent
    await turn()
  }
  throw new Error('10,000 were sent, and none refused')
}

/** Lets happen what is ready to. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
