// Run two validators over state machines and print what they find.
//
// standard input:  {"name": definition, ...}
// standard output: [{"name": ..., "message": ...}, ...]
//
// Two, because each finds mistakes that the other lets pass; neither gives false alarms.
const path = require('node:path');

const modules = path.join(process.argv[2], 'node_modules');
const aslValidator = require(path.join(modules, 'asl-validator'));
const languageService = require(path.join(modules, 'amazon-states-language-service'));
const { TextDocument } = require(path.join(modules, 'vscode-languageserver-textdocument'));

async function findings(name, definition) {
  const messages = [];
  const validated = aslValidator(definition);
  for (const error of validated.errors) {
    messages.push(`asl-validator: ${error['Error code']}: ${error.Message}`);
  }
  const text = JSON.stringify(definition, null, 1);
  const document = TextDocument.create(`file:///${name}.asl.json`, 'asl', 1, text);
  const service = languageService.getLanguageService({});
  const problems = await service.doValidation(document, service.parseJSONDocument(document), {});
  for (const problem of problems) {
    const line = text.split('\n')[problem.range.start.line].trim();
    messages.push(`amazon-states-language-service: ${problem.message} (at ${line})`);
  }
  return messages.map((message) => ({ name, message }));
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const definitions = JSON.parse(Buffer.concat(chunks).toString());
  const all = [];
  for (const [name, definition] of Object.entries(definitions)) {
    all.push(...(await findings(name, definition)));
  }
  process.stdout.write(JSON.stringify(all));
}

main();
