cidr              = "10.30.0.0/16"
zones             = { a = 0, b = 1, c = 2 }
instance_limit    = 8
database_size_gib = 200

services = {
  web = {
    image    = "example/web:2.4.0"
    replicas = 3
    settings = { log_level = "warn" }
  }
  worker = {
    image    = "example/worker:1.9.2"
    replicas = 2
    settings = { queue = "orders" }
  }
}
