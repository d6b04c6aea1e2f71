cidr           = "10.10.0.0/16"
zones          = { a = 0 }
instance_limit = 2

services = {
  web = {
    image    = "example/web:2.4.0"
    settings = { log_level = "debug" }
  }
}
