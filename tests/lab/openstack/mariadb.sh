# MariaDB on a unix socket that only root can reach.  Nothing is synced to the disk: a killed process loses nothing, a killed
# machine may.
# shellcheck shell=bash
sql() { mariadb --no-defaults -S "$MYSQL_SOCKET" -uroot -e "$1"; }
fresh_database() { sql "drop database if exists $1; create database $1 character set utf8mb3"; }

mariadb_make() {
  stop mariadb
  rm -rf "$VAR/mysql" "$DONE"/{keystone,barbican,designate,manila,hsm-preferred}        # what was made in a database that is gone
  install -d -o mysql -m 700 "$VAR/mysql"
  mariadb-install-db --no-defaults --user=mysql --datadir="$VAR/mysql" --auth-root-authentication-method=normal --skip-test-db \
    >"$LOG/mariadb-install.log" 2>&1
}

mariadb_start() {
  once mariadb mariadb_make
  start mariadb mariadbd --no-defaults --user=mysql --datadir="$VAR/mysql" --socket="$MYSQL_SOCKET" --pid-file="$VAR/mysql/mysqld.pid" \
    --skip-networking --max-connections=300 --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --innodb-flush-log-at-trx-commit=2 \
    --innodb-flush-method=nosync --skip-log-bin --performance-schema=off --character-set-server=utf8mb3 \
    --transaction-isolation=READ-COMMITTED
}
