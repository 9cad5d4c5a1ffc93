// SPDX-License-Identifier: MIT

/** All attacks on connections of HTTP/1.1, by name. @module */

import type { ConnectionAttack } from './connection-attack.ts'
import { creation, deferredLength, removal, takeOver } from './connection-contests.ts'
import {
  abandonedHead,
  byteByByte,
  halfClose,
  leaveInBody,
  leaveInHead,
  readNoAnswers,
  readNoReceipt,
  readNothing,
  silence,
  stall,
} from './connection-cuts.ts'
import { checksum, chunks, expectation, garbageChunks, trailer } from './connection-framing.ts'
import type { Fault } from './connection-siege.ts'
import { pipeline, refusal, swallowed } from './connection-reuse.ts'

/** What is done most is what goes wrong in most ways. */
export const ATTACKS: readonly Fault<ConnectionAttack>[] = [
  ['a FIN in a body', (attack) => leaveInBody(attack, 'FIN')],
  ['a FIN in a body', (attack) => leaveInBody(attack, 'FIN')],
  ['a reset in a body', (attack) => leaveInBody(attack, 'RST')],
  ['a reset in a body', (attack) => leaveInBody(attack, 'RST')],
  ['a head that is cut', leaveInHead],
  ['silence', silence],
  ['a stall', stall],
  ['a half-close', halfClose],
  ['byte by byte', byteByByte],
  ['a download that is not read', readNothing],
  ['answers that are not read', readNoAnswers],
  ['a receipt that is not read', readNoReceipt],
  ['a HEAD that is given up', abandonedHead],
  ['chunks', chunks],
  ['garbage for chunks', garbageChunks],
  ['a checksum', checksum],
  ['a trailer', trailer],
  ['a trailer', trailer],
  ['Expect: 100-continue', expectation],
  ['Expect: 100-continue', expectation],
  ['a refusal', refusal],
  ['a refusal', refusal],
  ['a refusal', refusal],
  ['a refusal', refusal],
  ['requests behind an upload', pipeline],
  ['requests behind an upload', pipeline],
  ['a request that is a body', swallowed],
  ['a creation', creation],
  ['a creation', creation],
  ['a length that comes late', deferredLength],
  ['a take-over', takeOver],
  ['a removal', removal],
]
