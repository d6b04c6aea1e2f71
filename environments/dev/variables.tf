variable "cidr" {
  description = "Range of the network."
  type        = string
}

variable "zones" {
  description = "Zones, and the number of each one's subnet."
  type        = map(number)
}

variable "services" {
  description = "The services, by name."
  type = map(object({
    image    = string
    replicas = optional(number, 1)
    settings = optional(map(string), {})
  }))
}

variable "instance_limit" {
  description = "How many instances there is money for."
  type        = number
}
