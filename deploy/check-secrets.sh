#!/bin/sh
# Ends with 1 if one of the named variables is empty, a placeholder of env.example, or too short to be a secret.
#   sh check-secrets.sh NAME...
set -eu
wrong=0
for name in "$@"; do
  eval "value=\${$name:-}"
  case "$value" in
    "") echo "$name is not set: put it into .env (deploy/env.example)" >&2; wrong=1 ;;
    *CHANGE-ME* | *change-me* | *example.org | minioadmin | password | postgres | Milvus)
      echo "$name is still a placeholder: replace it in .env" >&2; wrong=1 ;;
    *)
      case "$name" in
        *PASSWORD | *SECRET*)
          if [ "${#value}" -lt 16 ]; then
            echo "$name has fewer than 16 characters; \`openssl rand -hex 24\` makes a good one" >&2; wrong=1
          fi
          case "$value" in *[!A-Za-z0-9_-]*)
            echo "$name may have letters, digits, - and _ only, for it becomes part of an address" >&2; wrong=1 ;;
          esac ;;
      esac ;;
  esac
done
exit "$wrong"
