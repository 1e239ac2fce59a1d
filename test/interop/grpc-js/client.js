// SPDX-License-Identifier: Apache-2.0

// A gRPC client that resolves its target by xDS (GRPC_XDS_BOOTSTRAP names its bootstrap file). Each line of standard input is the path of a
// method that is called with an empty message; a line of JSON says what came: {"code", "details", "body"}. Usage: client.js TARGET
'use strict';

const grpc = require('@grpc/grpc-js');
const readline = require('readline');

require('@grpc/grpc-js-xds').register();

const DEADLINE_MS = 30000;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const same = (bytes) => bytes;

function call(path) {
	const options = { deadline: Date.now() + DEADLINE_MS };

	client.makeUnaryRequest(path, same, same, Buffer.alloc(0), options, (error, body) => {
		console.log(JSON.stringify({
			code: error ? error.code : 0,
			details: error ? error.details : '',
			body: body ? body.toString() : '',
		}));
	});
}

readline.createInterface({ input: process.stdin }).on('line', call).on('close', () => process.exit(0));
