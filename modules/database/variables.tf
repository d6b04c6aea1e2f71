variable "name" {
  description = "Name of the database and of its account."
  type        = string
}

variable "size_gib" {
  description = "Size of its disk in GiB."
  type        = number

  validation {
    condition     = var.size_gib >= 10
    error_message = "A database needs at least 10 GiB."
  }
}

variable "password" {
  description = "Password of the account."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.password) >= 16
    error_message = "The password needs at least 16 characters."
  }
}
