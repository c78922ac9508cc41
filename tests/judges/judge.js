// Two libraries of others over a directory of messages, in one process.
//
// node judge.js DIRECTORY: reads `records.json` (DNS name → TXT record) and every `N.eml`; for each one
// line of JSON: what mailauth says of its signatures and of those of `N.changed.eml`, and what mailparser
// reads in it. Files are digested, so that an answer stays small.

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { dkimVerify } = require('mailauth/lib/dkim/verify');
const { simpleParser } = require('mailparser');

const directory = process.argv[2];
const records = JSON.parse(fs.readFileSync(path.join(directory, 'records.json'), 'utf8'));
const sha256 = (octets) => crypto.createHash('sha256').update(octets).digest('hex');

async function resolver(name, type) {
    if (type === 'TXT' && records[name]) {
        return [[records[name]]];
    }
    throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
}

async function verdicts(raw) {
    const { results } = await dkimVerify(raw, { resolver });
    return Object.fromEntries(results.map((r) => [r.selector, r.status.result]));
}

function people(field) {
    return (field ? field.value : []).map(({ name, address }) => [name, address]);
}

async function read(raw) {
    const mail = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
    return {
        subject: mail.subject ?? '',
        from: people(mail.from),
        to: people(mail.to),
        text: mail.text ?? null,
        html: mail.html || null,
        attachments: mail.attachments.map((a) => [a.filename ?? '', a.contentType, sha256(a.content)]),
    };
}

async function main() {
    const names = fs.readdirSync(directory).filter((name) => /^\d+\.eml$/.test(name));
    for (const name of names.sort()) {
        const raw = fs.readFileSync(path.join(directory, name));
        const changed = fs.readFileSync(path.join(directory, name.replace('.eml', '.changed.eml')));
        const answer = {
            name,
            verdicts: await verdicts(raw),
            changed: await verdicts(changed),
            read: await read(raw),
        };
        process.stdout.write(JSON.stringify(answer) + '\n');
    }
}

main();
