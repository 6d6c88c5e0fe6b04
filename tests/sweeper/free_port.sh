# Sourced by the scripts that start servers for the tests.

# A port that nobody answers on.
free_port() {
  local port
  while port=$((RANDOM % 10000 + 20000)); do
    (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}
