// User ids are opaque text to this page. Their type, which the server tells, decides only how an id is
// written in JSON and in SQL. A bigint may be above 2^53, so it never becomes a JavaScript number.

const TYPES = {
  bigint: { pattern: /^[+-]?\d+$/, hint: "This server's user ids are whole numbers.", first: "1" },
  uuid: {
    pattern: /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/i,
    hint: "This server's user ids are UUIDs.",
    first: "00000000-0000-0000-0000-000000000001",
  },
  text: { pattern: /^.+$/s, hint: "Enter a user id.", first: "1" },
};

export class UserIds {
  constructor(type) {
    this.type = Object.hasOwn(TYPES, type) ? type : "bigint";
  }

  /** The id shown to somebody who has not chosen one. */
  get first() {
    return TYPES[this.type].first;
  }

  /** The sentence to show when `accepts` says no. */
  get hint() {
    return TYPES[this.type].hint;
  }

  accepts(user) {
    return TYPES[this.type].pattern.test(user);
  }

  /** The one way to write the id: 007 and +7 are 7, a UUID is lower case. */
  canonical(user) {
    if (this.type === "bigint") return BigInt(user.replace(/^\+/, "")).toString();
    return this.type === "uuid" ? user.toLowerCase() : user;
  }

  json(user) {
    return this.type === "bigint" ? user : JSON.stringify(user);
  }

  sql(user) {
    return this.type === "bigint" ? user : `'${user.replaceAll("'", "''")}'`;
  }
}
