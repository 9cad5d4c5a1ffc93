// SPDX-License-Identifier: MIT

/** A route of the app router. @module */

export const POST = async (request) => Response.json(await request.json())
