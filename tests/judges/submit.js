// submit.js PORT KEY: nodemailer, told nothing but where and who, sends three messages over one pool.
// Prints a line of JSON for each: what the server said, and what was accepted and refused.
'use strict';

const nodemailer = require('nodemailer');

const [port, key] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: '127.0.0.1',
  port: Number(port),
  pool: true,
  auth: { user: 'postalynk', pass: key },
});

async function main() {
  const all = [1, 2, 3].map((number) =>
    transport.sendMail({
      from: 'Shop <shop@example.com>',
      to: ['ada@rcpt.example', 'Zażółć <ben@rcpt.example>'],
      subject: `Hello ${number}: zażółć gęślą jaźń`,
      text: '.\n..\n.x\nHi\n',
      html: '<p>Hi</p>',
      attachments: [{ filename: 'zażółć.bin', content: Buffer.from([0, 10, 13, 46, 255]) }],
    }),
  );
  for (const { response, accepted, rejected } of await Promise.all(all)) {
    console.log(JSON.stringify({ response, accepted, rejected }));
  }
  transport.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
