create table orders (
  id       bigint primary key,
  customer bigint not null references customers (id),
  total    numeric(12, 2) not null
);
